//! Where a credential comes from: a variable of the environment, or a file. Never from the policy, and never from the
//! configuration itself, which is for everybody to read.

use std::{collections::BTreeMap, fmt, io::Read, path::PathBuf};

use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;

/// What a credential looks like.
const FORM: &str = "say where it is: { env = \"NAME\" } or { file = \"PATH\" }";
/// The longest credential, in bytes: a private key of 16,384 bits has less.
const MAX_BYTES: u64 = 32 * 1024;

/// Answers for one variable of the environment.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Where a credential is: `{ env = "SLACK_TOKEN" }`, or `{ file = "/run/secrets/slack" }`, which is read once, when the
/// program starts.
#[derive(Clone, Deserialize)]
#[serde(try_from = "BTreeMap<String, Value>")]
pub struct Credential {
    env: Option<String>,
    file: Option<PathBuf>,
}

/// By hand: the error says nothing of what stands there, be it a key, which may be the secret.
impl TryFrom<BTreeMap<String, Value>> for Credential {
    type Error = &'static str;

    fn try_from(mut said: BTreeMap<String, Value>) -> Result<Self, Self::Error> {
        let mut text = |key: &str| match said.remove(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(FORM),
        };
        let (env, file) = (text("env")?, text("file")?.map(PathBuf::from));
        if said.is_empty() { Ok(Self { env, file }) } else { Err(FORM) }
    }
}

/// Where, and not what: a name is told only if it reads as one, since whoever mixes things up writes a secret there.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.env, &self.file) {
            (Some(name), _) if is_name(name) => write!(f, "the variable {name}"),
            (None, Some(_)) => f.write_str("a file"),
            _ => f.write_str("a credential"),
        }
    }
}

fn is_name(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

impl Credential {
    /// The credential, without white space around it; or why there is none.
    pub(crate) fn read(&self, environment: Environment<'_>) -> Result<SecretString, String> {
        let text = match (&self.env, &self.file) {
            (Some(name), None) if !is_name(name) => {
                return Err(
                    "env is the name of a variable, in capitals; the secret itself stands there".into()
                );
            }
            (Some(name), None) => {
                environment(name).ok_or_else(|| format!("the variable {name} is not set"))?
            }
            (None, Some(path)) => {
                let mut text = String::new();
                let opened = std::fs::File::open(path);
                // Not the path: see above. The kind of error is enough to go on with.
                opened
                    .and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text))
                    .map_err(|error| format!("the file cannot be read ({})", error.kind()))?;
                text
            }
            _ => return Err(FORM.into()),
        };
        match text.trim() {
            "" => Err("it is empty".into()),
            text if text.len() as u64 > MAX_BYTES => Err("it is longer than any credential".into()),
            text => Ok(SecretString::from(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use secrecy::ExposeSecret;
    use serde_json::json;

    use super::*;

    fn read(said: Value) -> Result<String, String> {
        let credential: Credential = serde_json::from_value(said).expect("a credential");
        let environment = |name: &str| match name {
            "SLACK_TOKEN" => Some(" xoxb-1\n".to_owned()),
            "EMPTY" => Some(" \n".to_owned()),
            _ => None,
        };
        credential.read(&environment).map(|secret| secret.expose_secret().to_owned())
    }

    #[test]
    fn a_credential_is_in_the_environment_or_in_a_file() {
        assert_eq!(read(json!({ "env": "SLACK_TOKEN" })), Ok("xoxb-1".into()));
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(b"xoxb-2\n").expect("written");
        assert_eq!(read(json!({ "file": file.path() })), Ok("xoxb-2".into()));
        for (said, why) in [
            (json!({}), "say where it is"),
            (json!({ "env": "A", "file": "b" }), "say where it is"),
            (json!({ "env": "MISSING" }), "the variable MISSING is not set"),
            (json!({ "env": "EMPTY" }), "it is empty"),
            (json!({ "env": "xoxb-c4n4ry" }), "env is the name"),
            (json!({ "file": "/nowhere/c4n4ry" }), "cannot be read"),
        ] {
            let error = read(said).expect_err("no credential");
            assert!(error.contains(why), "{error}");
            assert!(!error.contains("c4n4ry"), "{error}");
        }
        for said in [json!({ "env": 7 }), json!({ "xoxb-c4n4ry": 7 }), json!({ "env": "A", "c4n4ry": "b" })] {
            let error = serde_json::from_value::<Credential>(said).expect_err("no credential");
            assert_eq!(error.to_string(), FORM);
        }
        for said in [json!({ "env": "xoxb-c4n4ry" }), json!({ "file": "xoxb-c4n4ry" })] {
            let credential: Credential = serde_json::from_value(said).expect("a credential");
            assert!(!format!("{credential:?}").contains("c4n4ry"));
        }
    }
}
