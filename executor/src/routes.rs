//! Which targets carry an action: the first route of the configuration that fits, else the first target that carries actions
//! of its kind and is named by no route.

use std::{collections::BTreeSet, sync::Arc};

use eventlog::Clock;
use events::Action;
use serde::Deserialize;

use crate::{
    Config, ExecutorError, Target,
    stack::{self, Stack},
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
            let is_named = |carrier: &&Carrier| route.targets.iter().any(|name| name == carrier.name);
            let mut legs: Vec<(&'static str, Stack)> = carriers[..targets.len()]
                .iter()
                .filter(is_named)
                .map(|carrier| (carrier.name, carrier.stack.clone()))
                .collect();
            legs.sort_by_key(|(leg, _)| route.targets.iter().position(|name| name == leg));
            named.extend(legs.iter().map(|(name, _)| *name));
            let name = route.targets.join("+").leak();
            carriers.push(Carrier { name, stack: stack::fan_out(legs) });
        }
        Ok(Self { carriers, routes: config.routes.clone(), targets, named })
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
        for (nth, name) in route.targets.iter().enumerate() {
            let Some(target) = targets.iter().find(|target| target.name() == name) else {
                return refuse(format!("there is no [targets.{name}]"));
            };
            if !target.carries(&route.action.as_str().into()) {
                return refuse(format!("{name} does not carry this action"));
            }
            if route.targets[..nth].contains(name) {
                return refuse(format!("{name} is named twice"));
            }
        }
    }
    Ok(())
}
