//! The coordinator: plays the rounds.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use zfl_nn::{Evaluation, InputError, Mlp, ShapeError, ValueTable};
use zfl_proto::Token;
use zfl_proto::message::{Architecture, Checksum, StartHeader};
use zfl_proto::{ClientId, RoundIndex};
use zfl_seed::{Purpose, Stream};

use crate::call::Caller;
use crate::checkpoint::{hash, little_endian};
use crate::registry::{Client, OpenRound, Slot, State};
use crate::strategy::{Update, fed_avg};
use crate::{ClientRecord, Event, Outcome, RoundRecord};

/// How long the coordinator waits.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// From the start of the run until the clients have their data.
    pub ready: Duration,
    /// From the start of a round until its updates are there.
    pub round: Duration,
}

/// What is trained, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The run's seed.
    pub seed: u64,
    /// The model.
    pub architecture: Architecture,
    /// How many rounds.
    pub rounds: u32,
    /// How many clients there are.
    pub client_count: u32,
    /// How many of them are selected in each round.
    pub clients_per_round: u32,
    /// How many updates make a round.
    pub quorum: u32,
    /// Passes of a client over its share.
    pub epochs: u32,
    /// Samples of a client between two steps.
    pub batch_size: u32,
    /// Step size of a client.
    pub learning_rate: f32,
    /// The accuracy on the test set that ends the run once a round reaches it,
    /// whatever rounds are left.
    pub target_accuracy: Option<f64>,
}

/// How the coordinator is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is trained, and how.
    pub plan: Plan,
    /// How long it waits.
    pub deadlines: Deadlines,
}

/// The clients' shares of the data.
pub trait Shares: Send + Sync + 'static {
    /// Inputs of a sample.
    fn input_count(&self) -> u32;
    /// Labels are below this.
    fn class_count(&self) -> u32;
    /// What one unit of an input byte means.
    fn value_scale(&self) -> f32;
    /// Samples in the share of a client.
    fn sample_count(&self, client: u32) -> u32;
    /// The samples of a client, `sample_count × input_count` bytes.
    fn samples(&self, client: u32) -> Vec<u8>;
    /// The labels of a client, `sample_count` bytes.
    fn labels(&self, client: u32) -> Vec<u8>;
}

/// What the global model is tested on.
#[derive(Clone, Debug)]
pub struct TestSet {
    /// The samples, one after another.
    pub samples: Vec<u8>,
    /// Their labels.
    pub labels: Vec<u8>,
    /// What one unit of an input byte means.
    pub value_scale: f32,
}

/// Why a run ends without all its rounds.
#[derive(Debug, thiserror::Error)]
pub enum CoordinatorError {
    /// The socket cannot be had.
    #[error(
        "failed to listen on {address}: {source}; choose another port (`zfl run`: --set coordinator.port=PORT, `zfl serve`: --listen), or 0 for any free one"
    )]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The layers make no model.
    #[error("failed to build the model: {0}")]
    Shape(#[from] ShapeError),
    /// The test set does not suit the model.
    #[error("failed to evaluate the model: {0}")]
    Evaluate(#[from] InputError),
    /// Too few updates.
    #[error(
        "round {round}: {ok} of {selected} clients sent an update, the quorum is {quorum}; {first_failure}"
    )]
    Quorum {
        /// Which round.
        round: u32,
        /// Updates that count.
        ok: usize,
        /// Clients that were selected.
        selected: usize,
        /// Updates that were needed.
        quorum: u32,
        /// The first client that failed, and why.
        first_failure: String,
    },
    /// Too few clients are left.
    #[error(
        "round {round}: {alive} of {client_count} clients are left, the quorum is {quorum}; {first_failure}"
    )]
    TooFewClients {
        /// Which round.
        round: u32,
        /// Clients that are not lost.
        alive: usize,
        /// Clients that there were.
        client_count: usize,
        /// Updates that are needed.
        quorum: u32,
        /// The first client that was lost, and why.
        first_failure: String,
    },
    /// No randomness for the clients' tokens.
    #[error("failed to draw the clients' tokens: {0}")]
    Token(getrandom::Error),
    /// The HTTP client cannot be set up.
    #[error("failed to set up calls to the clients: {0}")]
    Call(reqwest::Error),
    /// The thread that evaluates ended.
    #[error("failed to evaluate the model: the evaluation was cut off")]
    EvaluationCutOff,
}

/// What the HTTP handlers and the rounds share.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) model: Mlp,
    pub(crate) shares: Box<dyn Shares>,
    pub(crate) fleet_key: Token,
    state: Mutex<State>,
    changes: watch::Sender<u64>,
    events: mpsc::UnboundedSender<Event>,
}

impl Shared {
    /// The state. A panic elsewhere while it was held cannot have left it
    /// half-changed in a way that matters: every change is one assignment.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes all that wait for the state to change.
    pub(crate) fn changed(&self) {
        self.changes.send_modify(|version| *version += 1);
    }

    pub(crate) fn tell(&self, event: Event) {
        // Nobody listens any more when the run is over.
        let _ = self.events.send(event);
    }

    /// Waits until `test` of the state gives something; `None` at the
    /// deadline.
    pub(crate) async fn wait_for<T>(
        &self,
        deadline: Instant,
        mut test: impl FnMut(&mut State) -> Option<T>,
    ) -> Option<T> {
        let mut changes = self.changes.subscribe();
        loop {
            changes.mark_unchanged();
            if let Some(found) = test(&mut self.state()) {
                return Some(found);
            }
            match tokio::time::timeout_at(deadline, changes.changed()).await {
                Ok(Ok(())) => {}
                _ => return test(&mut self.state()),
            }
        }
    }

    /// Ends a client's part in a round with a failure.
    pub(crate) fn fail(&self, round: u32, client: u32, outcome: Outcome, detail: String) {
        let failed = self
            .state()
            .slot_mut(round, client)
            .is_some_and(|slot| slot.fail(outcome, detail.clone()));
        if failed {
            self.tell(Event::ClientFinished {
                round,
                client,
                outcome,
                detail,
            });
            self.changed();
        }
    }

    /// The start message of a client for the open round.
    pub(crate) fn start_header(&self, open: &OpenRound, client: u32) -> StartHeader {
        let plan = &self.options.plan;
        StartHeader {
            client: ClientId(client),
            round: RoundIndex(open.index),
            seed: plan.seed,
            epochs: plan.epochs,
            batch_size: plan.batch_size,
            learning_rate: plan.learning_rate,
            architecture: plan.architecture,
            payload_crc32: open.payload_crc32,
        }
    }
}

/// The coordinator of a run.
#[derive(Clone)]
pub struct Coordinator {
    shared: Arc<Shared>,
    test: Arc<TestSet>,
    caller: Caller,
}

impl Coordinator {
    /// A coordinator and what it will tell.
    ///
    /// # Errors
    /// When the model cannot be built or no randomness can be had.
    pub fn new(
        options: Options,
        shares: impl Shares,
        test: TestSet,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Event>), CoordinatorError> {
        let model = model_of(&options.plan.architecture)?;
        let (events, receiver) = mpsc::unbounded_channel();
        let clients = (0..options.plan.client_count)
            .map(|_| {
                Ok(Client {
                    token: draw_token()?,
                    board: String::new(),
                    endpoint: None,
                    joined: false,
                    provisioned: false,
                    lost: None,
                })
            })
            .collect::<Result<Vec<_>, CoordinatorError>>()?;
        let shared = Arc::new(Shared {
            options,
            model,
            shares: Box::new(shares),
            fleet_key: draw_token()?,
            state: Mutex::new(State {
                clients,
                round: None,
                last_round: 0,
            }),
            changes: watch::Sender::new(0),
            events,
        });
        let coordinator = Self {
            caller: Caller::new(Arc::clone(&shared)).map_err(CoordinatorError::Call)?,
            shared,
            test: Arc::new(test),
        };
        Ok((coordinator, receiver))
    }

    /// The model that is trained.
    pub fn model(&self) -> &Mlp {
        &self.shared.model
    }

    /// The secret that lets a fleet host bring devices.
    pub fn fleet_key(&self) -> Token {
        self.shared.fleet_key
    }

    /// The clients' secrets, in the order of their numbers.
    pub fn tokens(&self) -> Vec<Token> {
        let state = self.shared.state();
        state.clients.iter().map(|client| client.token).collect()
    }

    /// The HTTP interface; serve it where the clients can reach it.
    pub fn router(&self) -> axum::Router {
        crate::http::router(Arc::clone(&self.shared))
    }

    /// Says that a client is gone for good, as `POST /lost` does.
    pub fn client_lost(&self, client: u32, reason: &str) {
        crate::call::lose(&self.shared, client, reason);
    }

    /// A socket for [`Coordinator::router`].
    ///
    /// # Errors
    /// When the address is in use or may not be used.
    pub async fn listen(address: SocketAddr) -> Result<tokio::net::TcpListener, CoordinatorError> {
        tokio::net::TcpListener::bind(address)
            .await
            .map_err(|source| CoordinatorError::Listen { address, source })
    }

    /// Plays all rounds, or those until the target accuracy is reached; gives
    /// the final model.
    ///
    /// # Errors
    /// When too few clients are left or too few updates arrive in time.
    pub async fn run(&self) -> Result<Arc<Vec<f32>>, CoordinatorError> {
        let plan = &self.shared.options.plan;
        let mut parameters = vec![0.0; self.shared.model.parameter_count()];
        let mut stream = Stream::new(plan.seed, Purpose::InitialWeights, 0);
        self.shared.model.initialise(&mut parameters, &mut stream)?;
        let mut global = Arc::new(parameters);
        let evaluation = self.evaluate(&global).await?;
        self.shared.tell(Event::Initial {
            accuracy: evaluation.accuracy(),
            loss: evaluation.loss(),
            model_sha256: hash(&global),
        });
        let ready_deadline = Instant::now() + self.shared.options.deadlines.ready;
        for round in 1..=plan.rounds {
            let accuracy;
            (global, accuracy) = self.round(round, global, ready_deadline).await?;
            if plan
                .target_accuracy
                .is_some_and(|target| accuracy >= target)
            {
                break;
            }
        }
        Ok(global)
    }

    async fn evaluate(&self, parameters: &Arc<Vec<f32>>) -> Result<Evaluation, CoordinatorError> {
        let (model, test) = (self.shared.model, Arc::clone(&self.test));
        let parameters = Arc::clone(parameters);
        let evaluated = tokio::task::spawn_blocking(move || {
            let mut scratch = vec![0.0; model.evaluation_len()];
            let table = ValueTable::new(test.value_scale);
            model.evaluate(
                &parameters,
                &test.samples,
                &test.labels,
                &table,
                &mut scratch,
            )
        });
        match evaluated.await {
            Ok(evaluation) => Ok(evaluation?),
            Err(_) => Err(CoordinatorError::EvaluationCutOff),
        }
    }

    /// Draws the clients of a round among those that are not lost.
    fn select(&self, round: u32) -> Result<Vec<u32>, CoordinatorError> {
        let plan = &self.shared.options.plan;
        let state = self.shared.state();
        let mut order: Vec<u32> = (0..plan.client_count).collect();
        Stream::for_round(plan.seed, Purpose::Selection, 0, round).shuffle(&mut order);
        // All are shuffled before the lost are passed over: the loss of one
        // client does not change who else is drawn.
        let mut selected: Vec<u32> = order
            .into_iter()
            .filter(|id| {
                state
                    .client(*id)
                    .is_some_and(|client| client.lost.is_none())
            })
            .take(usize::try_from(plan.clients_per_round).unwrap_or(usize::MAX))
            .collect();
        selected.sort_unstable();
        if selected.len() < usize::try_from(plan.quorum).unwrap_or(usize::MAX) {
            let first_failure = (0u32..)
                .zip(&state.clients)
                .find_map(|(id, client)| Some(format!("client {id}: {}", client.lost.as_ref()?)))
                .unwrap_or_default();
            return Err(CoordinatorError::TooFewClients {
                round,
                alive: selected.len(),
                client_count: state.clients.len(),
                quorum: plan.quorum,
                first_failure,
            });
        }
        Ok(selected)
    }

    /// Plays one round; gives the new global model and its accuracy.
    async fn round(
        &self,
        round: u32,
        global: Arc<Vec<f32>>,
        ready_deadline: Instant,
    ) -> Result<(Arc<Vec<f32>>, f64), CoordinatorError> {
        let shared = &self.shared;
        let selected = self.select(round)?;
        self.wait_until_ready(&selected, ready_deadline).await;
        let began = Instant::now();
        let deadline = began + shared.options.deadlines.round;
        let payload = Arc::new(little_endian(&global));
        {
            let mut state = shared.state();
            state.last_round = round;
            state.round = Some(OpenRound {
                index: round,
                global: Arc::clone(&global),
                payload_crc32: Checksum::of(&payload),
                payload,
                slots: selected
                    .iter()
                    .map(|id| {
                        let slot = Slot {
                            started: None,
                            bytes_down: 0,
                            trouble: None,
                            decision: None,
                        };
                        (*id, slot)
                    })
                    .collect::<BTreeMap<_, _>>(),
            });
        }
        shared.tell(Event::RoundStarted {
            round,
            clients: selected.clone(),
        });
        shared.changed();
        let mut calls = tokio::task::JoinSet::new();
        for id in &selected {
            let (caller, id) = (self.caller.clone(), *id);
            calls.spawn(async move { caller.start(round, id).await });
        }
        let decided = |state: &mut State| {
            let open = state.round.as_ref()?;
            let all = open.slots.values().all(|slot| slot.decision.is_some());
            all.then_some(())
        };
        shared.wait_for(deadline, decided).await;
        calls.abort_all();
        let late = format!(
            "no update within {} s",
            shared.options.deadlines.round.as_secs_f64()
        );
        for id in &selected {
            let trouble = shared
                .state()
                .slot_mut(round, *id)
                .and_then(|slot| slot.trouble.take());
            let (outcome, detail) = match trouble {
                Some(trouble) => (Outcome::Unreachable, trouble),
                None => (Outcome::Late, late.clone()),
            };
            shared.fail(round, *id, outcome, detail);
        }
        let (clients, updates) = self.close();
        let global = match self.aggregate(round, &clients, updates) {
            Ok(global) => global,
            Err(error) => {
                shared.tell(Event::RoundFailed { round, clients });
                return Err(error);
            }
        };
        let evaluation = self.evaluate(&global).await?;
        shared.tell(Event::RoundCompleted {
            record: RoundRecord {
                round,
                accuracy: evaluation.accuracy(),
                loss: evaluation.loss(),
                host_seconds: began.elapsed().as_secs_f64(),
                model_sha256: hash(&global),
                clients,
            },
            parameters: Arc::clone(&global),
        });
        Ok((global, evaluation.accuracy()))
    }

    /// Waits until the clients have their data (or are lost).
    async fn wait_until_ready(&self, selected: &[u32], deadline: Instant) {
        let all_settled = |state: &mut State| {
            selected
                .iter()
                .filter_map(|id| state.client(*id))
                .all(|client| client.provisioned || client.lost.is_some())
                .then_some(())
        };
        self.shared.wait_for(deadline, all_settled).await;
    }

    /// Closes the open round: its records and updates.
    fn close(&self) -> (Vec<ClientRecord>, Vec<Update>) {
        let mut state = self.shared.state();
        let mut records = Vec::new();
        let mut updates = Vec::new();
        let Some(open) = state.round.take() else {
            return (records, updates);
        };
        for (id, slot) in open.slots {
            let Some(decision) = slot.decision else {
                continue;
            };
            records.push(ClientRecord {
                client: id,
                board: state
                    .client(id)
                    .map(|client| client.board.clone())
                    .unwrap_or_default(),
                outcome: decision.outcome,
                detail: decision.detail,
                sample_count: decision
                    .update
                    .as_ref()
                    .map_or(0, |update| update.sample_count),
                host_seconds: decision.host_seconds,
                bytes_down: slot.bytes_down,
                bytes_up: decision.bytes_up,
                metrics: decision.metrics,
            });
            updates.extend(decision.update);
        }
        (records, updates)
    }

    fn aggregate(
        &self,
        round: u32,
        clients: &[ClientRecord],
        mut updates: Vec<Update>,
    ) -> Result<Arc<Vec<f32>>, CoordinatorError> {
        let quorum = self.shared.options.plan.quorum;
        let too_few = |ok| CoordinatorError::Quorum {
            round,
            ok,
            selected: clients.len(),
            quorum,
            first_failure: clients
                .iter()
                .find(|client| client.outcome != Outcome::Ok)
                .map(|client| {
                    let outcome = client.outcome.name();
                    format!("client {} is {outcome}: {}", client.client, client.detail)
                })
                .unwrap_or_default(),
        };
        if updates.len() < usize::try_from(quorum).unwrap_or(usize::MAX) {
            return Err(too_few(updates.len()));
        }
        let mean = fed_avg::aggregate(&mut updates).ok_or_else(|| too_few(0))?;
        Ok(Arc::new(mean))
    }
}

fn draw_token() -> Result<Token, CoordinatorError> {
    let mut bytes = [0; Token::BYTES];
    getrandom::fill(&mut bytes).map_err(CoordinatorError::Token)?;
    Ok(Token::new(bytes))
}

/// The trainer's form of an architecture.
fn model_of(architecture: &Architecture) -> Result<Mlp, ShapeError> {
    use zfl_nn::{Activation, Layer};
    use zfl_proto::message;
    let width = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    let layers: Vec<Layer> = architecture
        .layers()
        .iter()
        .map(|layer| Layer {
            output_count: width(layer.output_count),
            activation: match layer.activation {
                message::Activation::Identity => Activation::Identity,
                message::Activation::Relu => Activation::Relu,
            },
        })
        .collect();
    Mlp::new(width(architecture.input_count()), &layers)
}
