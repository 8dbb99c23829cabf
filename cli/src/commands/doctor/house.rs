//! What is around the log: configuration, disk, permissions.

use std::path::Path;

use super::finding::{Finding, Report};
use crate::config::Settings;

/// With less than this free the log may stop at its next checkpoint.
const SCARCE_BYTES: u64 = 32 << 20;
/// With less than this free somebody should look.
const LITTLE_BYTES: u64 = 512 << 20;

pub(super) fn check(settings: &Settings, report: &mut Report) {
    report.tell(secrets(settings));
    let dir = &settings.data_dir;
    if !dir.is_dir() {
        // A gateway with a broker needs none; who misses a log is told so.
        return;
    }
    report.tell(space(dir));
    report.tell(permissions(dir));
}

/// Whether others can read the secrets in the configuration.
fn secrets(settings: &Settings) -> Finding {
    const CHECK: &str = "configuration";
    let Some(file) = &settings.config else {
        return Finding::ok(CHECK, "no file; flags and environment only");
    };
    let shown = file.display();
    if !settings.secrets_in_config {
        return Finding::ok(CHECK, &format!("{shown} is read, and has no secret in it"));
    }
    match mode(file) {
        Some(mode) if mode & 0o077 != 0 => Finding::warning(
            CHECK,
            vec![format!(
                "{shown} has secrets in it, and others on this machine may read or write it (mode {:03o})",
                mode & 0o777
            )],
            &format!("chmod 600 {shown}, and change the secrets if somebody else may have read them"),
        ),
        _ => Finding::ok(CHECK, &format!("{shown} has secrets in it, and is for its owner alone")),
    }
}

/// Whether there is room.
fn space(dir: &Path) -> Finding {
    const CHECK: &str = "disk";
    let Ok(disk) = rustix::fs::statvfs(dir) else {
        return Finding::warning(
            CHECK,
            vec![format!("what is free under {} cannot be seen", dir.display())],
            "look with df",
        );
    };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let says = format!("{} MiB are free for {}", free >> 20, dir.display());
    if free < SCARCE_BYTES {
        Finding::error(CHECK, vec![says], "free some now: without room deliveries are answered 503")
    } else if free < LITTLE_BYTES {
        Finding::warning(CHECK, vec![says], "free some, or set [log] retention_bytes")
    } else {
        Finding::ok(CHECK, &says)
    }
}

/// Whether we may write, and others may not read.
fn permissions(dir: &Path) -> Finding {
    const CHECK: &str = "permissions";
    let mut locked = Vec::new();
    for name in ["", "log.db", "log.db-wal", "log.db-shm", "serve.lock"] {
        let path = dir.join(name);
        let needed = rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK;
        if path.exists() && rustix::fs::access(&path, needed).is_err() {
            locked.push(format!("{} cannot be read and written by this user", path.display()));
        }
    }
    if !locked.is_empty() {
        return Finding::error(
            CHECK,
            locked,
            "give the data directory to the user that runs breakdown (chown -R)",
        );
    }
    match mode(dir) {
        Some(mode) if mode & 0o077 != 0 => Finding::warning(
            CHECK,
            vec![format!(
                "others on this machine may look into {} (mode {:03o}): issues are kept there",
                dir.display(),
                mode & 0o777
            )],
            &format!("chmod 700 {}", dir.display()),
        ),
        _ => Finding::ok(CHECK, "the data directory is ours, and for its owner alone"),
    }
}

#[cfg(unix)]
fn mode(path: &Path) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    path.metadata().ok().map(|metadata| metadata.mode())
}

#[cfg(not(unix))]
fn mode(_: &Path) -> Option<u32> {
    None
}
