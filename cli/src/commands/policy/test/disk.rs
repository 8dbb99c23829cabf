//! The files that cases name.

use std::path::Path;

use events::IssueEvent;
use policy::cases::Files;

use crate::{commands::publish, policy_file};

/// The folder of a test file: names in it are found from there.
pub(super) struct Folder<'a>(pub(super) &'a Path);

impl Files for Folder<'_> {
    fn event(&mut self, name: &str) -> Result<IssueEvent, String> {
        let path = self.0.join(name);
        let shown = path.display();
        let text = read(&path)?;
        let value: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| format!("{shown} is no JSON: {error}"))?;
        if value.is_array() {
            return Err(format!("{shown} holds a list: a step takes a file with one event"));
        }
        publish::complete(value).map_err(|why| format!("{shown}: {why}"))
    }

    fn policy(&mut self, name: &str) -> Result<String, String> {
        read(&self.0.join(name))
    }
}

/// The text of a file; of one that is too large, enough for whoever parses it to say so.
pub(super) fn read(path: &Path) -> Result<String, String> {
    policy_file::read(path).map_err(|why| format!("{} cannot be read: {why}", path.display()))
}
