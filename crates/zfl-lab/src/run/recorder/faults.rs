//! What went wrong on purpose, written down and held against what came of it.

use serde_json::json;
use zfl_server::ClientRecord;

use super::Recorder;
use crate::faults::{Injected, book};
use crate::records::RecordError;
use crate::run::Progress;

impl Recorder {
    /// Takes in what has gone wrong on purpose.
    pub(super) fn take_faults(&mut self) -> Result<(), RecordError> {
        let mut told = std::mem::take(&mut self.faults_ahead);
        told.extend(std::iter::from_fn(|| self.faults.next()));
        for (injected, is_over) in told {
            let Injected {
                round,
                client,
                kind,
            } = injected;
            // The coordinator may be a round ahead of its events; what is
            // written down before a round is over must not be of the next,
            // which a resumed run plays again.
            if round > self.round {
                self.faults_ahead.push((injected, is_over));
                continue;
            }
            self.summary.faults_injected += 1;
            self.folder.event(
                "fault-injected",
                &json!({
                    "round": round,
                    "client": client,
                    "kind": kind.name(),
                    "round_is_over": is_over,
                }),
            )?;
        }
        Ok(())
    }

    /// An outcome that cannot have come of a fault, or the lack of one.
    fn unaccounted(
        &mut self,
        Injected {
            round,
            client,
            kind,
        }: Injected,
        outcome: &str,
    ) -> Result<(), RecordError> {
        let kind = kind.name();
        self.summary.faults_unaccounted += 1;
        self.folder.event(
            "fault-unaccounted",
            &json!({ "round": round, "client": client, "kind": kind, "outcome": outcome }),
        )?;
        self.show(Progress::Warning(format!(
            "round {round}: client {client} is {outcome} although `{kind}` was injected, which is \
             a fault of zfl"
        )));
        Ok(())
    }

    /// The faults of each part of a round that is over, as `clients.csv` has
    /// them.
    pub(super) fn close_faults(
        &mut self,
        round: u32,
        clients: &[ClientRecord],
    ) -> Result<Vec<String>, RecordError> {
        let mut names = Vec::new();
        for client in clients {
            let kinds = self.faults.close(round, client.client);
            for kind in book::unfit(&kinds, client.outcome) {
                let injected = Injected {
                    round,
                    client: client.client,
                    kind,
                };
                self.unaccounted(injected, client.outcome.name())?;
            }
            names.push(book::names(&kinds));
        }
        for injected in self.faults.end(round) {
            self.unaccounted(injected, "in no row of clients.csv")?;
        }
        Ok(names)
    }
}
