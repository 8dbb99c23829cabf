//! The committed schemas are those of the types, and hold for what the types write.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{fs, path::Path};

use events::schema;

#[test]
fn committed_schemas_are_fresh() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let update = std::env::var_os("UPDATE_SCHEMAS").is_some();
    for (topic, schema) in schema::all() {
        let path = folder.join(format!("{topic}.json"));
        let fresh = format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
        if update {
            fs::write(&path, &fresh).unwrap();
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(committed, fresh, "{topic}.json is stale: UPDATE_SCHEMAS=1 cargo test -p events");
    }
}
