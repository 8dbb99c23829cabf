//! Policy files on disk, and what stands beside them: only regular files are read, never more of one than a policy may have, and
//! watched files only when they may have changed.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, ErrorKind, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use policy::MAX_TEXT_BYTES;
use rustix::fs::OFlags;

/// How a file looks from outside. Whatever writes to it, puts another in its place, or turns a link on the way to it
/// changes this; two writes within one tick of the file system's clock may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    place: (u64, u64),
    length: u64,
    /// Seconds and nanoseconds at which the content, and anything about the file, changed last.
    changed: [(i64, i64); 2],
}

impl Stamp {
    fn of(file: &Metadata) -> Self {
        Self {
            place: (file.dev(), file.ino()),
            length: file.len(),
            changed: [(file.mtime(), file.mtime_nsec()), (file.ctime(), file.ctime_nsec())],
        }
    }
}

/// The file's text; of one that is too large, enough for the loader to say so. Blocks.
///
/// # Errors
/// Why it cannot be read.
pub(crate) fn read(path: &Path) -> Result<String, String> {
    match look(path, None)? {
        Some((_, bytes)) => text(bytes),
        None => Ok(String::new()),
    }
}

/// Reads the file; none when it looks as `known`. Never more than a byte over what a policy may have. Blocks, but not for whoever
/// is to write to a pipe.
///
/// # Errors
/// Why it cannot be read.
pub(crate) fn look(path: &Path, known: Option<Stamp>) -> Result<Option<(Stamp, Vec<u8>)>, String> {
    look_at(path, known).map_err(|error| match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => error.to_string(),
    })
}

fn look_at(path: &Path, known: Option<Stamp>) -> io::Result<Option<(Stamp, Vec<u8>)>> {
    // To open a device can do something by itself.
    let found = std::fs::metadata(path)?;
    check(&found)?;
    if known == Some(Stamp::of(&found)) {
        return Ok(None);
    }
    // Another file may have taken its place since, a pipe among them.
    let file = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path)?;
    let opened = file.metadata()?;
    check(&opened)?;
    Ok(Some((Stamp::of(&opened), read_some(file)?)))
}

fn check(file: &Metadata) -> io::Result<()> {
    if file.is_file() {
        return Ok(());
    }
    Err(io::Error::other(match file.is_dir() {
        true => "it is a directory",
        false => {
            "it is not a regular file; what comes from a pipe or a device is to be written to a file first"
        }
    }))
}

fn read_some(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAX_TEXT_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What was read, as text.
///
/// # Errors
/// That it is none, and where.
pub(crate) fn text(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).or_else(|error| {
        let bytes = error.as_bytes();
        if bytes.len() > MAX_TEXT_BYTES {
            // Cut off somewhere; the loader says what is allowed.
            return Ok(String::from_utf8_lossy(bytes).into_owned());
        }
        if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
            return Err("it is UTF-16; save it as UTF-8".to_owned());
        }
        let good = &bytes[..error.utf8_error().valid_up_to()];
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        Err(format!("line {line} is not UTF-8; save the file as UTF-8"))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_is_read_again_when_anything_on_the_way_to_it_changed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let path = at("policy.yaml");
        let text = |known| {
            look(&path, known).unwrap().map(|(stamp, bytes)| (stamp, String::from_utf8(bytes).unwrap()))
        };
        assert_eq!(look(&path, None).unwrap_err(), "there is no such file");

        std::fs::write(&path, "one").unwrap();
        let (stamp, one) = text(None).unwrap();
        assert_eq!(one, "one");
        assert_eq!(text(Some(stamp)), None);
        // As editors do: another file under the same name, as long and as old.
        let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
        std::fs::write(at("new"), "two").unwrap();
        File::options().write(true).open(at("new")).unwrap().set_modified(modified).unwrap();
        std::fs::rename(at("new"), &path).unwrap();
        let (stamp, two) = text(Some(stamp)).unwrap();
        assert_eq!(two, "two");
        // As a mounted ConfigMap does: the file is a link through a directory that is exchanged.
        for version in ["v1", "v2"] {
            std::fs::create_dir(at(version)).unwrap();
            std::fs::write(at(version).join("policy.yaml"), version).unwrap();
        }
        symlink("v1", at("..data")).unwrap();
        std::fs::remove_file(&path).unwrap();
        symlink("..data/policy.yaml", &path).unwrap();
        let (stamp, first) = text(Some(stamp)).unwrap();
        assert_eq!(first, "v1");
        symlink("v2", at("..data_tmp")).unwrap();
        std::fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert_eq!(text(Some(stamp)).unwrap().1, "v2");
    }

    #[test]
    fn what_is_no_regular_file_or_too_long_does_not_hold_the_reader_up() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap_err(), "it is a directory");
        let pipe = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for special in [&pipe, Path::new("/dev/zero")] {
            assert!(
                read(special).unwrap_err().starts_with("it is not a regular file"),
                "{}",
                special.display()
            );
        }
        let path = dir.path().join("long");
        File::create(&path).unwrap().set_len(10 * MAX_TEXT_BYTES as u64).unwrap();
        assert_eq!(read(&path).unwrap().len(), MAX_TEXT_BYTES + 1);
    }

    #[test]
    fn what_is_no_text_is_told() {
        assert_eq!(
            text(b"version: 1\n# \xff\n".into()).unwrap_err(),
            "line 2 is not UTF-8; save the file as UTF-8"
        );
        assert_eq!(text(b"\xff\xfev\0".into()).unwrap_err(), "it is UTF-16; save it as UTF-8");
        // Cut off within a character: not the file's fault.
        let mut long = vec![b'#'; MAX_TEXT_BYTES - 1];
        long.extend("é".as_bytes());
        assert!(text(long).unwrap().len() > MAX_TEXT_BYTES);
    }
}
