//! Whom the rules name and no target would find: a policy and the configuration together.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ::policy::{Addressed, Diagnostic, MAX_DIAGNOSTICS, Ruleset};
use executor::{Route, TargetConfig};

/// What is said of somebody, whichever rule names them: the message's end, and a hint.
type Said = (String, String);

/// A warning for each rule, whom it names, and target that an action of it can reach and that would refuse it.
pub(super) fn warnings(
    ruleset: &Ruleset,
    routes: &[Route],
    targets: &BTreeMap<String, TargetConfig>,
) -> Vec<Diagnostic> {
    let mut warnings = Vec::new();
    let mut known: HashMap<(&str, String), Vec<Said>> = HashMap::new();
    let mut met = BTreeSet::new();
    for Addressed { rule, action, target } in ruleset.addressed() {
        let said = known.entry((action.as_str(), target)).or_insert_with_key(|(_, target)| {
            let mut said = Vec::new();
            for (whom, to) in ruleset.recipients(action, target) {
                for name in carriers(routes, action.as_str()) {
                    let unfound = targets.get(name).and_then(|it| it.would_not_find(name, action, &to));
                    let Some(unfound) = unfound else { continue };
                    let (lacks, why) = (unfound.lacks, unfound.why);
                    let message =
                        format!("{whom} {lacks}, and target `{name}` {why}; the action will be rejected");
                    said.push((message, unfound.hint));
                }
            }
            said
        });
        for (message, hint) in said {
            if warnings.len() >= MAX_DIAGNOSTICS {
                return warnings;
            }
            if met.insert((rule.id(), message.clone())) {
                let message = format!("rule {}: {message}", rule.id());
                warnings.push(ruleset.warning_at(rule, message, hint.clone()));
            }
        }
    }
    warnings
}

/// The targets that can get an action of a kind: of every project's route, down to the first that is for all projects.
fn carriers<'r>(routes: &'r [Route], action: &str) -> BTreeSet<&'r str> {
    let mut names = BTreeSet::new();
    for route in routes.iter().filter(|route| route.action == action) {
        names.extend(route.targets.iter().map(String::as_str));
        if route.project.is_none() {
            break;
        }
    }
    names
}
