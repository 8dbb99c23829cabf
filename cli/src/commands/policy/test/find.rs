//! Which test files are meant.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::error::Failure;

const ENDINGS: [&str; 2] = [".test.yaml", ".test.yml"];
/// Folders in which nothing is one's own.
const FOREIGN: [&str; 2] = ["node_modules", "target"];
const MAX_DEPTH: usize = 32;

/// The test files that are named, of the policies that are named, and in the folders that are named; each once, those of a folder
/// by name.
pub(super) fn test_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let (mut files, mut seen) = (Vec::new(), BTreeSet::new());
    for path in paths {
        let kind = fs::metadata(path)
            .map_err(|error| Failure::usage(format!("{} cannot be read: {error}", path.display())))?;
        let found = if kind.is_dir() {
            let mut found = BTreeSet::new();
            walk(path, 0, &mut found)?;
            if found.is_empty() {
                return Err(Failure::usage(format!(
                    "no test file (*.test.yaml) under {}; `breakdown policy test --help` shows one",
                    path.display()
                )));
            }
            found.into_iter().collect()
        } else if is_test(path) {
            vec![path.clone()]
        } else {
            vec![test_of(path)?]
        };
        files.extend(found.into_iter().filter(|file| seen.insert(file.clone())));
    }
    Ok(files)
}

/// The policy beside a test file that names none: the same name without `.test`.
pub(super) fn policy_of(test: &Path) -> PathBuf {
    let name = test.file_name().unwrap_or_default().to_string_lossy();
    let stem = ENDINGS.iter().find_map(|ending| Some((name.strip_suffix(ending)?, &ending[".test".len()..])));
    stem.map_or_else(|| test.to_owned(), |(stem, ending)| test.with_file_name(format!("{stem}{ending}")))
}

fn test_of(policy: &Path) -> Result<PathBuf, Failure> {
    let stem = policy.file_stem().unwrap_or_default().to_string_lossy();
    let mut beside = ENDINGS.iter().map(|ending| policy.with_file_name(format!("{stem}{ending}")));
    beside.find(|test| test.is_file()).ok_or_else(|| {
        Failure::usage(format!(
            "{} has no cases: there is no {} (`breakdown policy test --help` shows one)",
            policy.display(),
            policy.with_file_name(format!("{stem}{}", ENDINGS[0])).display()
        ))
    })
}

fn is_test(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// Links to folders are not followed: they can lead in a circle.
fn walk(folder: &Path, depth: usize, found: &mut BTreeSet<PathBuf>) -> Result<(), Failure> {
    let unreadable = |error| Failure::usage(format!("{} cannot be read: {error}", folder.display()));
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let (name, path) = (entry.file_name(), entry.path());
        let name = name.to_string_lossy();
        if entry.file_type().map_err(unreadable)?.is_dir() {
            if depth < MAX_DEPTH && !name.starts_with('.') && !FOREIGN.contains(&name.as_ref()) {
                walk(&path, depth + 1, found)?;
            }
        } else if is_test(&path) {
            // `./x` is `x` to everybody.
            found.insert(path.strip_prefix(".").map(Path::to_owned).unwrap_or(path));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_and_its_test_file_name_each_other() {
        for (test, policy) in
            [("a/b.test.yaml", "a/b.yaml"), ("b.test.yml", "b.yml"), ("a.b.test.yaml", "a.b.yaml")]
        {
            assert_eq!(policy_of(Path::new(test)), Path::new(policy));
            assert!(is_test(Path::new(test)) && !is_test(Path::new(policy)));
        }
    }

    #[test]
    fn a_folder_is_searched_but_not_what_is_foreign() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["b.test.yaml", "a.yaml", "x/a.test.yml", ".git/c.test.yaml", "target/d.test.yaml"] {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let found = test_files(&[dir.path().to_owned(), dir.path().join("b.test.yaml")]).unwrap();
        let expected: Vec<_> =
            ["b.test.yaml", "x/a.test.yml"].iter().map(|file| dir.path().join(file)).collect();
        assert_eq!(found, expected);
        let none = test_files(&[dir.path().join("a.yaml")]).unwrap_err();
        assert!(none.code == 2 && none.to_string().contains("a.test.yaml"), "{none}");
    }
}
