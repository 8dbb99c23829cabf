//! Which targets carry an action: the first route of the configuration that fits, else the first target that carries actions
//! of its kind and is named by no route.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use eventlog::Clock;
use events::{Action, ActionKind, Carried, Earlier, Outcome};
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
    /// Their kind, e.g. `escalate_owner`. What takes them back (`resolve`) or
    /// acknowledges them follows them.
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
    /// What no other carrier is called, and this one after a restart, too: its name; of a route whose it is, and what for.
    pub(crate) key: String,
    /// The targets, by their places.
    legs: Vec<usize>,
    /// Those that tell people where one of these refuses.
    otherwise: Vec<usize>,
    /// The route that leads here.
    route: Option<usize>,
}

/// All carriers, and which is whose.
pub(crate) struct Routes {
    /// First each target by itself, then one for each route, in their order; then, of routes not all of whose targets can take back what
    /// they did, or acknowledge it, one for those that can.
    carriers: Vec<Carrier>,
    /// Of each route, by their kind, who carries the actions that follow up its own; none where no target of it can.
    following: Vec<BTreeMap<ActionKind, usize>>,
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
        let names = targets.iter().map(|target| target.name()).collect();
        match faults(&config.routes, &names, &targets).as_slice() {
            [] => {}
            faults => return Err(ExecutorError::Config(faults.join("\n"))),
        }
        let mut carriers: Vec<Carrier> = Vec::new();
        for (place, target) in targets.iter().enumerate() {
            let stack = stack::around(target.clone(), &config.limits_of(target.name()), clock.clone());
            let (name, key) = (target.name(), target.name().to_owned());
            carriers.push(Carrier {
                name,
                key,
                stack,
                legs: vec![place],
                otherwise: Vec::new(),
                route: None,
            });
        }
        let mut named = BTreeSet::new();
        let mut joined =
            |route: usize, what: &str, legs: Vec<usize>, otherwise: &[usize], alone: &[Carrier]| {
                let stacks = |legs: &[usize]| -> Legs {
                    legs.iter().map(|leg| (alone[*leg].name, alone[*leg].stack.clone())).collect()
                };
                named.extend(legs.iter().chain(otherwise).map(|leg| alone[*leg].name));
                let names: Vec<&'static str> = legs.iter().map(|leg| alone[*leg].name).collect();
                let stack = stack::fan_out(stacks(&legs), stacks(otherwise), Arc::clone(clock));
                let name: &'static str = names.join("+").leak();
                let Route { action, project, .. } = &config.routes[route];
                let of = project.as_ref().map_or(String::new(), |project| format!(" of {project}"));
                let key = format!("{what}{action}{of}: {name}");
                Carrier { name, key, stack, legs, otherwise: otherwise.to_vec(), route: Some(route) }
            };
        let places = |names: &[String]| -> Vec<usize> {
            names.iter().filter_map(|name| targets.iter().position(|it| it.name() == name)).collect()
        };
        for (place, route) in config.routes.iter().enumerate() {
            let carrier = joined(place, "", places(&route.targets), &places(&route.otherwise), &carriers);
            carriers.push(carrier);
        }
        let mut following = Vec::new();
        for (place, route) in config.routes.iter().enumerate() {
            let mut by_kind = BTreeMap::new();
            for kind in follow_ups(&route.action.as_str().into()) {
                let own = targets.len() + place;
                let can = |leg: &&usize| targets[**leg].carries(&kind);
                let legs: Vec<usize> = carriers[own].legs.iter().filter(can).copied().collect();
                if legs.is_empty() {
                    continue;
                }
                // Who is told of a refusal would be told of another action's.
                let whole = Some(own).filter(|own| carriers[*own].legs == legs && route.otherwise.is_empty());
                let same =
                    || by_kind.values().copied().find(|carrier: &usize| carriers[*carrier].legs == legs);
                let carrier = whole.or_else(same).unwrap_or_else(|| {
                    let carrier = joined(place, "after ", legs, &[], &carriers);
                    carriers.push(carrier);
                    carriers.len() - 1
                });
                by_kind.insert(kind, carrier);
            }
            following.push(by_kind);
        }
        Ok(Self {
            carriers,
            following,
            routes: config.routes.clone(),
            targets,
            named,
            dry_run: config.dry_run,
        })
    }

    /// The index of the carrier of an action. What follows up an earlier one goes where that went, to those of the targets that can.
    pub(crate) fn carrier_of(&self, action: &Action) -> Option<usize> {
        let earlier = Earlier::of(action).map(|of| of.action);
        if earlier.is_none() && action.action.follows_up() {
            return None;
        }
        let kind = earlier.as_ref().unwrap_or(&action.action);
        let fits = |route: &Route| {
            route.action == kind.as_str()
                && route.project.as_ref().is_none_or(|project| *project == action.project_id)
        };
        if let Some(route) = self.routes.iter().position(fits) {
            return match earlier {
                Some(_) => self.following[route].get(&action.action).copied(),
                None => Some(self.targets.len() + route),
            };
        }
        let free = |target: &Arc<dyn Target>| !self.named.contains(target.name()) && target.carries(kind);
        let free = self.targets.iter().position(free);
        free.filter(|place| self.targets[*place].carries(&action.action))
    }

    /// The carrier of a pending action, where it is to be a dry run.
    fn rehearsing(&self, pending: &Pending) -> Option<&Carrier> {
        let carrier = self.carriers.get(pending.target?)?;
        let route = carrier.route.and_then(|route| self.routes.get(route));
        Some(carrier).filter(|_| self.dry_run || route.is_some_and(|route| route.mode != Mode::Live))
    }

    /// Whether a pending action is to be a dry run.
    pub(crate) fn is_dry_run(&self, pending: &Pending) -> bool {
        self.rehearsing(pending).is_some()
    }

    /// What the targets of a pending action would send, where it is to be a dry run; and what people would be told where one of them
    /// refuses, which nobody knows before it is asked.
    pub(crate) fn rehearse(&self, pending: &Pending) -> Option<Vec<Carried>> {
        let carrier = self.rehearsing(pending)?;
        let attempt = Attempt { action: pending.action.clone(), asked_at: pending.entry.asked_at };
        let targets = |places: &[usize]| -> Vec<&Arc<dyn Target>> {
            places.iter().filter_map(|place| self.targets.get(*place)).collect()
        };
        let (mut all, mut refused) = (Vec::new(), false);
        for target in targets(&carrier.legs) {
            let (carried, refuses) = rehearsed(&**target, &attempt, Outcome::DRY_RUN);
            refused |= refuses;
            all.push(carried);
        }
        let told = Attempt { action: Arc::new(stack::nudge(&attempt.action)), ..attempt };
        let when = match refused {
            true => "dry_run; would be sent, since another target would refuse",
            false => "dry_run; would be sent only if another target refused",
        };
        let told = targets(&carrier.otherwise).into_iter().map(|target| rehearsed(&**target, &told, when).0);
        all.extend(told.map(|carried| Carried { otherwise: true, ..carried }));
        Some(all)
    }

    /// The index of the carrier with this key.
    pub(crate) fn keyed(&self, key: &str) -> Option<usize> {
        self.carriers.iter().position(|carrier| carrier.key == key)
    }

    pub(crate) fn get(&self, carrier: usize) -> Option<&Carrier> {
        self.carriers.get(carrier)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Carrier> {
        self.carriers.iter()
    }
}

/// What a target would send, and whether it would refuse.
fn rehearsed(target: &dyn Target, attempt: &Attempt, how: &str) -> (Carried, bool) {
    let (unsent, error, refuses) = match target.rehearse(attempt) {
        Ok(unsent) => (unsent, how.to_owned(), false),
        Err(reason) => (Vec::new(), format!("dry_run; would be refused: {reason}"), true),
    };
    let (by, error) = (target.name().to_owned(), Some(error));
    (Carried { by, ack: false, attempts: 0, error, reference: None, otherwise: false, unsent }, refuses)
}

/// The kinds of action that can reach a target: those of the routes that name it (`post_nudge` where they do so under `otherwise`), or
/// of a target that is on none, those that no route takes in every project; and what acknowledges or takes them back.
pub fn reaching(target: &dyn Target, routes: &[Route]) -> Vec<ActionKind> {
    let is_in = |names: &[String]| names.iter().any(|name| name == target.name());
    let mut kinds: Vec<ActionKind> = Vec::new();
    match routes.iter().any(|route| route.names(target.name())) {
        true => {
            let carried = |route: &Route| {
                let kind = is_in(&route.targets).then(|| ActionKind::from(route.action.as_str()));
                kind.into_iter().chain(is_in(&route.otherwise).then_some(ActionKind::PostNudge))
            };
            for kind in routes.iter().flat_map(carried) {
                if !kinds.contains(&kind) {
                    kinds.push(kind);
                }
            }
        }
        false => {
            let taken =
                |kind: &str| routes.iter().any(|route| route.project.is_none() && route.action == kind);
            let free =
                ActionKind::KNOWN.iter().filter(|kind| !taken(kind)).map(|kind| ActionKind::from(*kind));
            kinds.extend(free.filter(|kind| !kind.follows_up() && target.carries(kind)));
        }
    }
    let following: BTreeSet<ActionKind> =
        kinds.iter().filter(|kind| kind.leaves_open()).flat_map(follow_ups).collect();
    kinds.extend(following.into_iter().filter(|kind| target.carries(kind)));
    kinds
}

/// What may follow up an action of a kind.
fn follow_ups(kind: &ActionKind) -> impl Iterator<Item = ActionKind> + use<> {
    let acknowledge = (*kind == ActionKind::EscalateOwner).then_some(ActionKind::Acknowledge);
    acknowledge.into_iter().chain([ActionKind::Resolve])
}

/// What is wrong with the routes: each has an action that there is, and leads to targets that there are (`names`) and that carry it. Of
/// those that are not open it is not known what they carry.
pub(crate) fn faults(routes: &[Route], names: &BTreeSet<&str>, targets: &[Arc<dyn Target>]) -> Vec<String> {
    let mut faults = Vec::new();
    for (place, route) in routes.iter().enumerate() {
        let mut refuse =
            |what: String| faults.push(format!("routes: number {} ({}): {what}", place + 1, route.action));
        let action = ActionKind::from(route.action.as_str());
        let is_known = ActionKind::KNOWN.contains(&action.as_str());
        if !is_known {
            let kinds = ActionKind::KNOWN.iter().filter(|kind| !ActionKind::from(**kind).follows_up());
            let kinds = kinds.copied().collect::<Vec<_>>().join(", ");
            refuse(format!("there is no such action; write one of {kinds}"));
        }
        if action.follows_up() {
            refuse("it goes where the action went that it is about; take the route away".to_owned());
            continue;
        }
        if route.targets.is_empty() {
            refuse("targets is empty; name those that carry the action".to_owned());
        }
        let carried = route.targets.iter().map(|name| (name, is_known.then_some(&action), "this action"));
        let nudge = &ActionKind::PostNudge;
        let told = route.otherwise.iter().map(|name| (name, Some(nudge), "post_nudge, for otherwise"));
        let mut met: BTreeSet<&str> = BTreeSet::new();
        for (name, action, what) in carried.chain(told) {
            let target = targets.iter().find(|target| target.name() == name);
            if !names.contains(name.as_str()) {
                refuse(format!("there is no [targets.{name}]"));
            } else if let (Some(target), Some(action)) = (target, action)
                && !target.carries(action)
            {
                refuse(format!("{name} does not carry {what}"));
            }
            if !met.insert(name) {
                refuse(format!("{name} is named twice"));
            }
        }
    }
    faults
}
