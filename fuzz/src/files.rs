//! Files that are not policies: the configuration, and a history.

use std::{cell::RefCell, path::PathBuf};

use breakdown::config::{Flags, Settings};

use crate::recorder::now;

thread_local!(static FILE: RefCell<PathBuf> = RefCell::new({
    // In memory, where there is such a place.
    let memory = std::path::Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    place.join(format!("breakdown-fuzz-{}.toml", std::process::id()))
}));

pub fn settings(data: &[u8]) {
    FILE.with_borrow(|path| {
        std::fs::write(path, data).expect("a file");
        let flags = Flags { config: Some(path.clone()), ..Flags::default() };
        match Settings::load(&flags, |_| None) {
            // Nobody is shown a secret.
            Ok(settings) => {
                assert!((1..=1024).contains(&settings.partitions));
                let _ = format!("{settings:?}");
            }
            Err(failure) => assert_eq!(failure.code, 2),
        }
    });
}

pub fn history(data: &[u8]) {
    if let Err(why) = breakdown::fuzzing::history(data, now()) {
        crate::is_plain(&why);
    }
}
