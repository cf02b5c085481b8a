//! A run in a folder that goes on.

use zfl_server::{Resume, Secrets, checkpoint};

use super::{Context, RunError};
use crate::records::RunFolder;
use crate::state::{ResumeError, State};

/// A run that goes on.
pub(super) struct Resumed {
    pub(super) folder: RunFolder,
    /// `None`: no round was over.
    pub(super) state: Option<State>,
    /// Of a run whose clients others bring.
    secrets: Option<Secrets>,
}

impl Resumed {
    pub(super) fn open(context: &Context) -> Result<Self, RunError> {
        let secrets = RunFolder::read_tokens(&context.folder)?;
        // With devices of its own it would wait for those of others, or the
        // other way round.
        if secrets.is_some() == context.fleet.is_some() {
            return Err(ResumeError::OtherCommand {
                path: context.folder.clone(),
                command: match secrets {
                    Some(_) => "serve",
                    None => "run",
                },
            }
            .into());
        }
        let (folder, state) = RunFolder::resume(&context.folder)?;
        Ok(Self {
            folder,
            state,
            secrets,
        })
    }

    /// How many clients others bring.
    pub(super) fn clients_elsewhere(&self) -> Option<u32> {
        let secrets = self.secrets.as_ref()?;
        u32::try_from(secrets.clients.len()).ok()
    }

    /// Where the coordinator goes on.
    pub(super) fn resume(&mut self, model: &zfl_nn::Model) -> Result<Resume, RunError> {
        let state = self.state.as_mut();
        let model_round = state.as_ref().map_or(0, |state| state.model_round);
        let parameters = match model_round {
            0 => None,
            round => Some(checkpoint::load(&self.folder.checkpoint_path(round), model)?.into()),
        };
        Ok(Resume {
            round: state.as_ref().map_or(0, |state| state.round),
            parameters,
            carry: state
                .map(|state| std::mem::take(&mut state.carry))
                .unwrap_or_default(),
            secrets: self.secrets.take(),
        })
    }
}
