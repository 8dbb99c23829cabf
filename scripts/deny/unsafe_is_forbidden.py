#!/usr/bin/env python3
"""Fails unless each Cargo.toml named forbids unsafe code: the lint covers every target of a crate, tests and benches too."""
import sys
import tomllib

bad = []
for path in sys.argv[1:]:
    with open(path, "rb") as file:
        manifest = tomllib.load(file)
    # A crate takes the workspace's lints over, or has lints of its own; the workspace's are in a file that is named here as well.
    sections = []
    if "package" in manifest:
        lints = manifest.get("lints", {})
        sections += [] if lints.get("workspace") else [lints]
    if "lints" in manifest.get("workspace", {}) or "package" not in manifest:
        sections.append(manifest["workspace"].get("lints", {}))
    levels = [section.get("rust", {}).get("unsafe_code") for section in sections]
    if any((level.get("level") if isinstance(level, dict) else level) != "forbid" for level in levels):
        bad.append(path)
for path in bad:
    print(f'{path}: unsafe code is not forbidden: add [lints] workspace = true, or [lints.rust] unsafe_code = "forbid"', file=sys.stderr)
if not sys.argv[1:]:
    print("no Cargo.toml was named", file=sys.stderr)
print(f"unsafe code is forbidden in {len(sys.argv) - 1 - len(bad)} of {len(sys.argv) - 1} Cargo.toml")
sys.exit(bool(bad) or not sys.argv[1:])
