//! The data directory, and the lock of the one `serve` that may hold it.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io::{ErrorKind, Read, Seek, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use super::database;
use crate::LogError;

const LOCK: &str = "serve.lock";
/// Whoever takes the lock of a new directory makes the log's file right away: so often, and so far apart, is looked for it. And
/// whoever looks has the lock for a moment.
const LOOKS: usize = 50;
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// The files as they were when the log was opened. Whoever removes or replaces one of them under us takes the log with
/// it, or lets a second holder in: nothing may be acknowledged then.
pub(super) struct Places(Vec<(PathBuf, u64)>);

impl Places {
    /// Remembers the log's file and, for a holder, the lock.
    pub(super) fn remember(file: &Path, lock: Option<&File>) -> Result<Self, LogError> {
        let failed = |error| gone(file, &error);
        let mut places = vec![(file.to_owned(), inode(&file.metadata().map_err(failed)?))];
        // What was acknowledged last stands in it alone. It is there as long as anybody has the file open.
        let wal = write_ahead(file);
        places.push((wal.clone(), inode(&wal.metadata().map_err(|error| gone(&wal, &error))?)));
        if let (Some(lock), Some(directory)) = (lock, file.parent()) {
            places.push((directory.join(LOCK), inode(&lock.metadata().map_err(failed)?)));
        }
        Ok(Self(places))
    }

    /// [`LogError::Unavailable`] when a file is no longer what it was.
    pub(super) fn check(&self) -> Result<(), LogError> {
        self.0.iter().try_for_each(|(path, was)| match path.metadata() {
            Ok(is) if inode(&is) == *was => Ok(()),
            Ok(_) => Err(gone(path, &"it is another file now")),
            Err(error) => Err(gone(path, &error)),
        })
    }
}

/// The write-ahead log of a database.
pub(super) fn write_ahead(file: &Path) -> PathBuf {
    let mut wal = file.as_os_str().to_owned();
    wal.push("-wal");
    wal.into()
}

/// Whether the log's file is there. Where it is not, it may be made, and only then: SQLite removes a write-ahead log that it
/// finds beside a file that is missing or empty, and with it all that was acknowledged since the last checkpoint.
///
/// [`LogError::Refused`] where the file was taken away: from beside its write-ahead log, or, unless `held`, from under the
/// process that holds the directory.
pub(super) fn find(directory: &Path, held: bool) -> Result<bool, LogError> {
    let file = directory.join(database::FILE);
    let wal = write_ahead(&file);
    let shown = file.display();
    let mut looks = 0;
    loop {
        looks += 1;
        // The write-ahead log first: a file that is being made has its first page before there is one.
        let left = wal.metadata().ok().map(|metadata| metadata.len());
        let how = match (file.metadata().map(|metadata| metadata.len()), left) {
            (Ok(0), Some(1..)) => "empty",
            (Err(error), _) if error.kind() != ErrorKind::NotFound => return Ok(true),
            (Ok(_), _) => return Ok(true),
            (Err(_), _) => "missing",
        };
        let holder = if held { None } else { holder(directory)? };
        return Err(LogError::Refused(match (holder, left) {
            (None, None) => return Ok(false),
            (Some(_), None) if looks < LOOKS => {
                std::thread::sleep(BETWEEN_LOOKS);
                continue;
            }
            (Some(holder), _) => format!(
                "{shown} is {how}, and its directory is held by {holder}: put it back, with the log.db-wal that it had"
            ),
            (None, Some(_)) => format!(
                "{shown} is {how} beside its log.db-wal, which has what was acknowledged last: put it back, or move log.db-wal \
                 away to begin anew"
            ),
        }));
    }
}

/// Who holds the directory, in words.
fn holder(directory: &Path) -> Result<Option<String>, LogError> {
    let path = directory.join(LOCK);
    let failed = |error: std::io::Error| {
        LogError::Refused(format!(
            "cannot see whether the data directory is held: {}: {error}; check its permissions",
            path.display()
        ))
    };
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    // Shared, so that two who look do not take each other for the holder.
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(named(&mut file))),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// The process that wrote its id to the lock.
fn named(lock: &mut File) -> String {
    let mut pid = String::new();
    let _ = Read::by_ref(lock).take(20).read_to_string(&mut pid);
    match pid.trim().parse::<u32>() {
        Ok(pid) => format!("another breakdown serve (pid {pid})"),
        Err(_) => "another breakdown serve".to_owned(),
    }
}

fn gone(path: &Path, why: &dyn std::fmt::Display) -> LogError {
    LogError::Unavailable(format!(
        "{} was removed or replaced while it was in use ({why}): nothing is written any more; put it back, or start again",
        path.display()
    ))
}

#[cfg(unix)]
fn inode(metadata: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

/// Elsewhere files in use cannot be removed.
#[cfg(not(unix))]
fn inode(_: &std::fs::Metadata) -> u64 {
    0
}

/// Makes the directory, for its owner alone, where it is missing.
pub(super) fn make(directory: &Path) -> Result<(), LogError> {
    if directory.is_dir() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    // The new name must outlive the machine's death as surely as what will stand under it.
    let made = builder.create(directory).and_then(|()| match directory.canonicalize()?.parent() {
        Some(parent) if cfg!(unix) => File::open(parent)?.sync_all(),
        _ => Ok(()),
    });
    made.map_err(|error| {
        LogError::Refused(format!(
            "cannot make the data directory {}: {error}; name another, or make it yourself",
            directory.display()
        ))
    })
}

/// Takes the lock, which lasts until the file is closed, also by the death of the process. The file holds our process id
/// for whoever is refused.
pub(super) fn lock(directory: &Path) -> Result<File, LogError> {
    let path = directory.join(LOCK);
    let failed = |error: std::io::Error| {
        LogError::Refused(format!(
            "cannot lock the data directory: {}: {error}; check its permissions",
            path.display()
        ))
    };
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
    let mut looks = 0;
    loop {
        looks += 1;
        match file.try_lock() {
            Ok(()) => break,
            // Without the log's file it may be somebody who looks for the holder, and is done at once.
            Err(TryLockError::WouldBlock) if looks < 5 && !directory.join(database::FILE).exists() => {
                std::thread::sleep(BETWEEN_LOOKS);
            }
            Err(TryLockError::WouldBlock) => {
                return Err(LogError::Refused(format!(
                    "data directory {} is in use by {}; stop it, or choose another with --data-dir",
                    directory.display(),
                    named(&mut file)
                )));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
    // The lock is what counts; who has it is told to people, where the disk is not full.
    let told = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()));
    if let Err(error) = told {
        tracing::warn!(%error, file = %path.display(), "the process id cannot be written to the lock file");
    }
    Ok(file)
}
