//! The core stays pure: nothing that waits, listens, or stores is among its dependencies.
#![allow(clippy::unwrap_used)]

use std::process::Command;

#[test]
fn the_core_knows_no_runtime_network_or_store() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "-p", "policy", "-e", "normal", "--prefix", "none"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let tree = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let crates: Vec<_> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    for known in ["policy", "events", "cel"] {
        assert!(crates.contains(&known), "cargo tree does not name {known}:\n{tree}");
    }
    for barred in ["tokio", "axum", "reqwest", "rdkafka", "rusqlite", "hyper", "eventlog"] {
        assert!(!crates.contains(&barred), "policy depends on {barred}:\n{tree}");
    }
}
