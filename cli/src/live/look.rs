//! What a file holds now, read only when it may have changed.

use std::{
    fs::{File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
};

use policy::MAX_TEXT_BYTES;

/// How a file looks from outside. Whatever writes to it, puts another in its place, or turns a link on the way to it
/// changes this; two writes within one tick of the file system's clock may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
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

/// Reads the file; none when it looks as `known`. Never more than a byte over what a policy may have. Blocks.
pub(super) fn look(path: &Path, known: Option<Stamp>) -> io::Result<Option<(Stamp, Vec<u8>)>> {
    let found = std::fs::metadata(path)?;
    if !found.is_file() {
        // Opening a pipe would wait for whoever writes to it.
        return Err(io::Error::other("it is not a regular file"));
    }
    if known == Some(Stamp::of(&found)) {
        return Ok(None);
    }
    let file = File::open(path)?;
    // Of the very file that is read: another may have taken its place since.
    let stamp = Stamp::of(&file.metadata()?);
    let mut bytes = Vec::new();
    file.take(MAX_TEXT_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Some((stamp, bytes)))
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
        assert_eq!(look(&path, None).unwrap_err().kind(), io::ErrorKind::NotFound);

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
    fn what_is_no_file_or_too_long_does_not_hold_the_reader_up() {
        let dir = tempfile::tempdir().unwrap();
        assert!(look(dir.path(), None).unwrap_err().to_string().contains("regular file"));
        let path = dir.path().join("long");
        File::create(&path).unwrap().set_len(10 * MAX_TEXT_BYTES as u64).unwrap();
        assert_eq!(look(&path, None).unwrap().unwrap().1.len(), MAX_TEXT_BYTES + 1);
    }
}
