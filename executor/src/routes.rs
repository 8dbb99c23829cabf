//! Which targets carry an action: the first route of the configuration that fits, else the first target that carries actions
//! of its kind and is named by no route.

use std::{collections::BTreeSet, sync::Arc};

use eventlog::Clock;
use events::{Action, ActionKind, Carried};
use serde::Deserialize;

use crate::{
    Attempt, Config, ExecutorError, Target,
    stack::{self, Legs, Stack},
    state::Pending,
};

/// One `[[routes]]` of the configuration. They are looked through from top to bottom; the first that fits decides.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The project of the actions; left out, every project.
    pub project: Option<String>,
    /// Their kind, e.g. `escalate_owner`.
    pub action: String,
    /// The names of the targets, each of which carries the action; all at the same time.
    pub targets: Vec<String>,
    /// The names of targets that tell people where one of those refuses the action: each gets a `post_nudge` made of it.
    #[serde(default)]
    pub otherwise: Vec<String>,
    /// Whether they do it.
    #[serde(default)]
    pub mode: Mode,
}

impl Route {
    /// Whether anything gets to this target by the route.
    pub(crate) fn names(&self, target: &str) -> bool {
        self.targets.iter().chain(&self.otherwise).any(|name| name == target)
    }
}

/// What becomes of the actions of a route.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// They are carried out.
    #[default]
    Live,
    /// Nothing is touched: the outcome is `dry_run`, and says what would have been sent.
    DryRun,
}

/// Whoever an action is handed to: a target in its stack, or several as one.
pub(crate) struct Carrier {
    /// The target's name; of several `a+b`.
    pub(crate) name: &'static str,
    pub(crate) stack: Stack,
}

/// All carriers, and which is whose.
pub(crate) struct Routes {
    /// First each target by itself, then one for each route, in their order.
    carriers: Vec<Carrier>,
    routes: Vec<Route>,
    targets: Vec<Arc<dyn Target>>,
    /// Targets that a route names: nothing else gets there.
    named: BTreeSet<&'static str>,
    /// Nothing is touched, whatever a route says.
    dry_run: bool,
}

impl Routes {
    /// Each target in a stack of its own, which all routes to it share.
    pub(crate) fn new(
        targets: Vec<Arc<dyn Target>>,
        config: &Config,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, ExecutorError> {
        check(&config.routes, &targets)?;
        let around = |target: &Arc<dyn Target>| Carrier {
            name: target.name(),
            stack: stack::around(target.clone(), &config.limits, clock.clone()),
        };
        let mut carriers: Vec<Carrier> = targets.iter().map(around).collect();
        let mut named = BTreeSet::new();
        for route in &config.routes {
            let alone = &carriers[..targets.len()];
            let leg = |name: &String| {
                alone.iter().find(|carrier| carrier.name == name).map(|c| (c.name, c.stack.clone()))
            };
            let legs: Legs = route.targets.iter().filter_map(leg).collect();
            let otherwise: Legs = route.otherwise.iter().filter_map(leg).collect();
            named.extend(legs.iter().chain(&otherwise).map(|(name, _)| *name));
            let name = route.targets.join("+").leak();
            carriers.push(Carrier { name, stack: stack::fan_out(legs, otherwise) });
        }
        Ok(Self { carriers, routes: config.routes.clone(), targets, named, dry_run: config.dry_run })
    }

    /// The index of the carrier of an action.
    pub(crate) fn carrier_of(&self, action: &Action) -> Option<usize> {
        let fits = |route: &Route| {
            route.action == action.action.as_str()
                && route.project.as_ref().is_none_or(|project| *project == action.project_id)
        };
        if let Some(route) = self.routes.iter().position(fits) {
            return Some(self.targets.len() + route);
        }
        let free =
            |target: &Arc<dyn Target>| !self.named.contains(target.name()) && target.carries(&action.action);
        self.targets.iter().position(free)
    }

    /// What the targets of a pending action would send, where it is to be a dry run.
    pub(crate) fn rehearse(&self, pending: &Pending) -> Option<Vec<Carried>> {
        let carrier = pending.target?;
        let route = carrier.checked_sub(self.targets.len()).and_then(|route| self.routes.get(route));
        if !self.dry_run && route.is_none_or(|route| route.mode == Mode::Live) {
            return None;
        }
        let attempt = Attempt { action: pending.action.clone(), asked_at: pending.entry.asked_at };
        let carried = |target: &Arc<dyn Target>| {
            let (unsent, error) = match target.rehearse(&attempt) {
                Ok(unsent) => (unsent, "dry_run".to_owned()),
                Err(reason) => (Vec::new(), format!("dry_run; would be refused: {reason}")),
            };
            let by = target.name().to_owned();
            Carried { by, ack: false, attempts: 0, error: Some(error), reference: None, unsent }
        };
        let named = |name: &String| self.targets.iter().find(|target| target.name() == name);
        Some(match route {
            Some(route) => route.targets.iter().filter_map(named).map(carried).collect(),
            None => self.targets.get(carrier).map(carried).into_iter().collect(),
        })
    }

    pub(crate) fn get(&self, carrier: usize) -> Option<&Carrier> {
        self.carriers.get(carrier)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Carrier> {
        self.carriers.iter()
    }
}

/// Whether every route leads to targets that there are and that carry its action, and every target of the configuration is
/// on one.
pub(crate) fn check(routes: &[Route], targets: &[Arc<dyn Target>]) -> Result<(), ExecutorError> {
    for (place, route) in routes.iter().enumerate() {
        let refuse = |what: String| {
            Err(ExecutorError::Config(format!("routes: number {} ({}): {what}", place + 1, route.action)))
        };
        if route.targets.is_empty() {
            return refuse("targets is empty; name those that carry the action".to_owned());
        }
        let carried = route.targets.iter().map(|name| (name, route.action.as_str()));
        let told = route.otherwise.iter().map(|name| (name, ActionKind::PostNudge.as_str()));
        let mut named: Vec<&String> = Vec::new();
        for (name, action) in carried.chain(told) {
            let Some(target) = targets.iter().find(|target| target.name() == name) else {
                return refuse(format!("there is no [targets.{name}]"));
            };
            if !target.carries(&action.into()) {
                let what = if action == route.action { "this action" } else { "post_nudge, for otherwise" };
                return refuse(format!("{name} does not carry {what}"));
            }
            if named.contains(&name) {
                return refuse(format!("{name} is named twice"));
            }
            named.push(name);
        }
    }
    Ok(())
}
