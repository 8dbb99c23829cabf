//! The engine: libFuzzer on one target, named by BREAKDOWN_FUZZ. `scripts/fuzz.sh` builds it instrumented and runs it.
#![no_main]

use std::sync::LazyLock;

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("BREAKDOWN_FUZZ").unwrap_or_default();
    fuzz::target(&name).unwrap_or_else(|| panic!("BREAKDOWN_FUZZ names no target: {name:?}"))
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| TARGET(data));
