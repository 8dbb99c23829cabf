//! `control`: what operators tell the executors.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{MAX_ID_BYTES, Message, Recorded, Unsound, id, topic};

/// Whether effects go out. Of a project and of all projects, the last word holds; effects of a project go out where neither says
/// that they do not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Control {
    /// Derived id: `c-` and 32 hex digits.
    pub event_id: String,
    /// The project, also the record's key. Absent for all projects: then the key is empty, and the record stands in every partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<String>,
    /// True: actions wait. False: they go out again.
    pub paused: bool,
    /// When it was said.
    pub at: DateTime<Utc>,
}

impl Control {
    /// What is said of `project_id`, or of all.
    pub fn new(project_id: Option<&str>, paused: bool, at: DateTime<Utc>) -> Self {
        Self {
            event_id: id::control(project_id.unwrap_or_default(), paused, at),
            project_id: project_id.map(str::to_owned),
            paused,
            at,
        }
    }

    /// The message on `control`.
    pub fn to_message(&self) -> serde_json::Result<Message> {
        Ok(Message::new(
            topic::CONTROL,
            self.project_id(),
            (&self.event_id, if self.paused { "paused" } else { "resumed" }, "/breakdown"),
            Some(self.at),
            id::traceparent(&self.event_id, &self.event_id),
            serde_json::to_vec(self)?,
        ))
    }
}

impl Recorded for Control {
    fn project_id(&self) -> &str {
        self.project_id.as_deref().unwrap_or_default()
    }

    fn ids(&self) -> impl IntoIterator<Item = (&'static str, &str)> {
        let project = self.project_id.as_deref().map(|project| ("project_id", project));
        [("event_id", self.event_id.as_str())].into_iter().chain(project)
    }

    // All projects are no project.
    fn check_ids(&self) -> Result<(), Unsound> {
        match self.ids().into_iter().find(|(_, id)| !(1..=MAX_ID_BYTES).contains(&id.len())) {
            Some((field, _)) => Err(Unsound::Id(field)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_the_project_and_of_all_projects_none() {
        let at = DateTime::UNIX_EPOCH;
        for project in [None, Some("alpha")] {
            let message = Control::new(project, true, at).to_message().unwrap();
            assert_eq!(message.key, project.unwrap_or_default());
            let read = Control::from_record(message.key.as_bytes(), &message.value).unwrap();
            assert_eq!(read.project_id.as_deref(), project);
            assert_eq!(Control::from_record(b"beta", &message.value).unwrap_err().reason(), "wrong_key");
        }
        let nobody = Control::new(Some(""), true, at).to_message().unwrap();
        assert!(Control::from_record(b"", &nobody.value).is_err(), "an empty name is not all");
    }
}
