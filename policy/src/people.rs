//! Who is who: the people and teams of a policy, as each tool knows them.

use std::collections::{BTreeMap, HashMap};

use events::{Person, Recipients, Source, Team};

/// The most people that one action carries; of a larger team, its first members. An action must fit a record.
pub(crate) const MAX_RECIPIENTS: usize = 50;

/// The people and teams of a policy.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct People {
    /// By the name that rules use.
    pub(crate) people: BTreeMap<String, Person>,
    /// Names by GitHub login in lower case.
    pub(crate) logins: HashMap<String, String>,
    /// Names by Jira accountId or user name.
    pub(crate) accounts: HashMap<String, String>,
    /// By the name that rules use.
    pub(crate) teams: BTreeMap<String, Group>,
}

/// One team.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Group {
    /// The members' names, in file order.
    pub(crate) members: Vec<String>,
    /// What is the team's own.
    pub(crate) team: Team,
}

impl People {
    /// A person by the name that rules use; the name alone where nothing is said of them.
    pub(crate) fn person(&self, name: &str) -> Person {
        let unknown = || Person { name: name.to_owned(), ..Person::default() };
        self.people.get(name).cloned().unwrap_or_else(unknown)
    }

    /// Whoever an issue is assigned to, by the identity that its tracker has for them: a GitHub login in any case, a Jira accountId. Of
    /// somebody of whom the policy says nothing, that identity is all that is known, and their name.
    pub(crate) fn assignee(&self, source: Option<Source>, identity: &str) -> Person {
        let name = match source {
            Some(Source::Github) => self.logins.get(&identity.to_ascii_lowercase()),
            Some(Source::Jira) => self.accounts.get(identity),
            None => None,
        };
        if let Some(person) = name.and_then(|name| self.people.get(name)) {
            return person.clone();
        }
        let here = |tracker| (source == Some(tracker)).then(|| identity.to_owned());
        Person {
            name: identity.to_owned(),
            github: here(Source::Github),
            jira: here(Source::Jira),
            ..Person::default()
        }
    }

    /// A team's members.
    pub(crate) fn members(&self, team: &str) -> &[String] {
        self.teams.get(team).map_or(&[], |group| &group.members)
    }

    /// A team and its members.
    pub(crate) fn of_team(&self, team: &str) -> Recipients {
        let people = self.members(team).iter().take(MAX_RECIPIENTS).map(|name| self.person(name)).collect();
        Recipients { people, team: self.teams.get(team).map(|group| group.team.clone()) }
    }
}

/// One person.
pub(crate) fn only(person: Person) -> Recipients {
    Recipients { people: vec![person], team: None }
}
