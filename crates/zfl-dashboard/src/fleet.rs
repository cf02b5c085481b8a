//! The clients of a run and what their devices are doing, from its events.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

/// So many clients are followed; others are counted.
pub(crate) const CLIENTS_MAX: usize = 20_000;

/// An entry of the experiment's fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Group {
    /// Its first client.
    pub(crate) first: u32,
    /// How many there are.
    pub(crate) count: u32,
    pub(crate) board: String,
    /// The microcontroller that they stand for.
    pub(crate) mcu: String,
    /// `emulated`, `native`; empty where others bring them.
    pub(crate) fidelity: String,
    pub(crate) link: String,
}

/// What is known of a client's condition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Condition {
    /// Its device has not said that it runs.
    #[default]
    Waiting,
    /// Its firmware runs; it has no data yet.
    Booted,
    /// It takes part, or could.
    Ready,
    /// It is selected in the round that goes on, and has not answered.
    Playing,
    /// The coordinator does not count on it.
    Lost,
    /// It does not answer.
    Hung,
    /// Its firmware has panicked or faulted.
    Crashed,
}

/// A client.
#[derive(Clone, Debug, Default)]
pub(crate) struct Client {
    pub(crate) condition: Condition,
    /// The last round in which its part was decided; 0: none.
    pub(crate) round: u32,
    /// How that ended; empty before.
    pub(crate) outcome: String,
    /// In how many rounds its update was used, and in how many it was not.
    pub(crate) counts: (u32, u32),
    /// The last line on its device's console.
    pub(crate) line: String,
    /// When something of it changed last.
    pub(crate) change: u64,
}

/// All clients.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    pub(crate) groups: Vec<Group>,
    pub(crate) clients: Vec<Client>,
    /// The clients of the devices, by their numbers.
    devices: Vec<u32>,
    /// `devices` is what `devices.csv` says, and no guess.
    is_told: bool,
    /// How many changes there have been.
    pub(crate) changes: u64,
}

impl Fleet {
    /// That of an experiment.
    pub(crate) fn new(experiment: &toml::Table) -> Self {
        let entries = experiment.get("fleet").and_then(toml::Value::as_array);
        let mut groups = Vec::new();
        let mut first = 0u32;
        for entry in entries.into_iter().flatten() {
            let text = |key: &str| {
                let value = entry.get(key).and_then(toml::Value::as_str);
                value.unwrap_or_default().to_owned()
            };
            let count = entry.get("count").and_then(toml::Value::as_integer);
            let count = count
                .and_then(|count| u32::try_from(count).ok())
                .unwrap_or(1);
            let fidelity = text("fidelity");
            groups.push(Group {
                first,
                count,
                // A native client has no board but the one that it stands for.
                board: text("board"),
                mcu: text("mcu"),
                link: text("link"),
                fidelity,
            });
            first = first.saturating_add(count);
        }
        let mut fleet = Self {
            groups,
            ..Self::default()
        };
        for group in fleet.groups.clone() {
            let condition = match group.fidelity.as_str() {
                "native" => Condition::Ready,
                _ => Condition::Waiting,
            };
            for client in group.first..group.first.saturating_add(group.count) {
                let Some(client) = fleet.client(client) else {
                    break;
                };
                client.condition = condition;
            }
        }
        fleet
    }

    /// A client, which from now on is known of; `None` where there are too many.
    fn client(&mut self, number: u32) -> Option<&mut Client> {
        let index = usize::try_from(number).ok()?;
        if index >= CLIENTS_MAX {
            return None;
        }
        if index >= self.clients.len() {
            self.clients.resize_with(index + 1, Client::default);
        }
        self.changes += 1;
        let client = self.clients.get_mut(index)?;
        client.change = self.changes;
        Some(client)
    }

    /// A row of `devices.csv`.
    pub(crate) fn device(&mut self, device: u32, client: u32) {
        let Ok(index) = usize::try_from(device) else {
            return;
        };
        if !std::mem::replace(&mut self.is_told, true) {
            self.devices.clear();
        }
        if index < CLIENTS_MAX {
            if index >= self.devices.len() {
                self.devices.resize(index + 1, u32::MAX);
            }
            if let Some(place) = self.devices.get_mut(index) {
                *place = client;
            }
        }
    }

    /// Whose device it is. Before the table is there: the emulated clients in their
    /// order, without those that were lost before anything booted, for want of memory.
    pub(crate) fn client_of(&mut self, device: u32) -> Option<u32> {
        if self.devices.is_empty() {
            for group in self
                .groups
                .iter()
                .filter(|group| group.fidelity != "native")
            {
                for client in group.first..group.first.saturating_add(group.count) {
                    let known = usize::try_from(client)
                        .ok()
                        .and_then(|index| self.clients.get(index));
                    let Some(known) = known else { break };
                    if known.condition != Condition::Lost {
                        self.devices.push(client);
                    }
                }
            }
        }
        let index = usize::try_from(device).ok()?;
        let client = *self.devices.get(index)?;
        (client != u32::MAX).then_some(client)
    }

    /// The device of a client, if it has one.
    pub(crate) fn device_of(&mut self, client: u32) -> Option<u32> {
        self.client_of(0)?;
        let index = self.devices.iter().position(|other| *other == client)?;
        u32::try_from(index).ok()
    }

    /// The last line on a device's console.
    pub(crate) fn line(&mut self, device: u32, line: String) {
        let client = self.client_of(device);
        if let Some(client) = client.and_then(|client| self.client(client)) {
            client.line = line;
        }
    }

    /// Something happened; `fields` as in `events.jsonl`.
    pub(crate) fn event(&mut self, event: &str, fields: &BTreeMap<String, Value>) {
        let number = |name: &str| {
            let value = fields.get(name)?.as_u64()?;
            u32::try_from(value).ok()
        };
        let client = match number("device") {
            Some(device) => self.client_of(device),
            None => number("client"),
        };
        if event == "round-started" {
            let selected = fields.get("clients").and_then(Value::as_array);
            let selected: Vec<u32> = selected
                .into_iter()
                .flatten()
                .filter_map(|client| u32::try_from(client.as_u64()?).ok())
                .collect();
            for client in selected {
                if let Some(client) = self.client(client) {
                    client.condition = Condition::Playing;
                }
            }
            return;
        }
        if matches!(event, "round-completed" | "round-failed" | "ended") {
            for index in 0..self.clients.len() {
                let is_playing = self
                    .clients
                    .get(index)
                    .is_some_and(|client| client.condition == Condition::Playing);
                if is_playing
                    && let Ok(number) = u32::try_from(index)
                    && let Some(client) = self.client(number)
                {
                    client.condition = Condition::Ready;
                }
            }
            return;
        }
        let condition = match event {
            "device-boot" => Condition::Booted,
            "device-ready" | "client-provisioned" | "client-back" | "client-finished" => {
                Condition::Ready
            }
            "client-lost" => Condition::Lost,
            "device-hung" => Condition::Hung,
            "device-panic" | "device-fault" => Condition::Crashed,
            _ => return,
        };
        let Some(client) = client.and_then(|client| self.client(client)) else {
            return;
        };
        // What is known better is not overwritten by what the coordinator makes of it.
        let is_broken = matches!(client.condition, Condition::Crashed | Condition::Hung);
        let is_vague = matches!(event, "client-lost" | "client-finished");
        if !(is_broken && is_vague) {
            client.condition = condition;
        }
        if event == "client-finished" {
            let outcome = fields.get("outcome").and_then(Value::as_str);
            client.outcome = outcome.unwrap_or_default().chars().take(32).collect();
            client.round = number("round").unwrap_or(client.round);
            match client.outcome.as_str() {
                "ok" => client.counts.0 += 1,
                _ => client.counts.1 += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPERIMENT: &str = r#"
[[fleet]]
board = "mps2-an386"
fidelity = "native"
count = 2
[[fleet]]
board = "lm3s6965evb"
fidelity = "emulated"
count = 3
link = "lte-m"
"#;

    fn fleet(events: &[&str]) -> Fleet {
        let mut fleet = Fleet::new(&EXPERIMENT.parse().unwrap());
        for line in events {
            let mut fields: BTreeMap<String, Value> = serde_json::from_str(line).unwrap();
            let event = fields.remove("event").unwrap();
            fleet.event(event.as_str().unwrap(), &fields);
        }
        fleet
    }

    fn conditions(fleet: &Fleet) -> Vec<Condition> {
        fleet
            .clients
            .iter()
            .map(|client| client.condition)
            .collect()
    }

    #[test]
    fn a_device_boots_plays_and_is_done() {
        use Condition::*;
        let events = [
            r#"{"event":"device-boot","device":1,"text":""}"#,
            r#"{"event":"client-provisioned","client":3}"#,
            r#"{"event":"round-started","round":1,"clients":[0,3,4]}"#,
            r#"{"event":"client-finished","round":1,"client":3,"outcome":"ok","detail":""}"#,
            r#"{"event":"client-finished","round":1,"client":4,"outcome":"late","detail":"x"}"#,
            r#"{"event":"round-completed","round":1}"#,
        ];
        assert_eq!(
            conditions(&fleet(&[])),
            [Ready, Ready, Waiting, Waiting, Waiting]
        );
        assert_eq!(conditions(&fleet(&events[..1]))[3], Booted);
        assert_eq!(
            conditions(&fleet(&events[..3])),
            [Playing, Ready, Waiting, Playing, Playing]
        );
        let over = fleet(&events);
        assert_eq!(conditions(&over), [Ready, Ready, Waiting, Ready, Ready]);
        assert_eq!(over.clients[3].counts, (1, 0));
        assert_eq!(over.clients[4].outcome, "late");
        assert_eq!(over.clients[4].counts, (0, 1));
    }

    #[test]
    fn a_crash_is_not_overwritten_by_its_consequences() {
        let events = [
            r#"{"event":"device-panic","device":0,"text":"at main.rs"}"#,
            r#"{"event":"client-lost","client":2,"reason":"its device is gone"}"#,
            r#"{"event":"client-finished","round":1,"client":2,"outcome":"crashed","detail":""}"#,
            r#"{"event":"device-boot","device":0,"text":""}"#,
        ];
        assert_eq!(fleet(&events[..3]).clients[2].condition, Condition::Crashed);
        assert_eq!(fleet(&events).clients[2].condition, Condition::Booted);
    }

    #[test]
    fn devices_are_numbered_without_those_that_do_not_fit() {
        let lost = r#"{"event":"client-lost","client":2,"reason":"too little memory"}"#;
        assert_eq!(fleet(&[]).client_of(0), Some(2));
        let mut fleet = fleet(&[lost]);
        assert_eq!(fleet.client_of(0), Some(3));
        assert_eq!(fleet.device_of(4), Some(1));
        assert_eq!(fleet.device_of(0), None);
        fleet.device(0, 4);
        assert_eq!(fleet.client_of(0), Some(4));
        assert_eq!(fleet.client_of(1), None);
    }

    #[test]
    fn a_number_out_of_bounds_is_left_out() {
        let event = r#"{"event":"client-lost","client":4000000000,"reason":""}"#;
        assert_eq!(fleet(&[event]).clients.len(), 5);
        let event = r#"{"event":"device-boot","device":4000000000,"text":""}"#;
        assert_eq!(fleet(&[event]).clients.len(), 5);
    }
}
