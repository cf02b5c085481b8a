//! The coordinator: plays the rounds.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use zfl_nn::{Initialisation, InputError, Model, Task};
use zfl_proto::Token;
use zfl_proto::message::{HeaderBytes, StartHeader};
use zfl_proto::{ClientId, RoundIndex};
use zfl_seed::{Purpose, Stream};

use crate::call::Caller;
use crate::checkpoint::hash;
use crate::evaluation::evaluate;
use crate::local::{BOARD_NATIVE, LocalClients, LocalRound};
use crate::payload::{Payload, encoding};
use crate::refusals::{Refusal, Refusals};
use crate::registry::{Client, Failure, LocalNumbers, OpenRound, PastRound, State};
use crate::selection::Draw;
use crate::strategy::{Update, fed_avg};
use crate::update::first_non_finite;
use crate::{
    Carry, ClientRecord, Event, LateRecord, Outcome, Policy, Quality, Resume, RoundRecord,
    Schedule, Staleness, Targets,
};

/// Later than any round ends.
pub(crate) const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// How long the coordinator waits.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// From the start of the run, or from when the clients are gathered, until
    /// they have their data.
    pub ready: Duration,
    /// From the start of a client's part in a round until its update is there.
    /// Parts start with the round, except where [`Options::parallel`] lets a
    /// client wait for its turn: its part starts then.
    pub round: Duration,
}

/// What is trained, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The run's seed.
    pub seed: u64,
    /// The model, and how a client trains it; the learning rate is that before
    /// its schedule.
    pub task: Task,
    /// The model before round 1.
    pub initial: Initial,
    /// How many rounds.
    pub rounds: u32,
    /// How many clients there are.
    pub client_count: u32,
    /// How many of them a round needs; it selects more where
    /// [`Policy::over_selection`] says so.
    pub clients_per_round: u32,
    /// How many updates make a round whose time is up.
    pub quorum: u32,
    /// What is done about clients that are slow, late, or fail.
    pub policy: Policy,
    /// How the learning rate changes from round to round.
    pub schedule: Schedule,
    /// The accuracy on the test set that ends the run once a round reaches it,
    /// whatever rounds are left.
    pub target_accuracy: Option<f64>,
    /// Where the run goes on; `None` begins it with [`Plan::initial`].
    pub resume: Option<Resume>,
}

/// The model before round 1.
#[derive(Clone, Debug)]
pub enum Initial {
    /// Drawn from the run's seed.
    Drawn(Initialisation),
    /// These parameters.
    Given(Arc<Vec<f32>>),
}

/// How the coordinator is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is trained, and how.
    pub plan: Plan,
    /// How long it waits.
    pub deadlines: Deadlines,
    /// So many of the clients that it calls have their part in a round at a
    /// time; the next is called when one has reported or failed. `None` calls
    /// all at once. The results do not depend on it.
    pub parallel: Option<NonZeroU32>,
    /// Threads that evaluate the model, 0 counts as 1. The result does not
    /// depend on their number.
    pub threads: usize,
}

/// The clients that are played in this process.
pub struct LocalPart {
    /// Their numbers: disjoint ranges in ascending order.
    pub numbers: Vec<Range<u32>>,
    /// What plays them.
    pub clients: Box<dyn LocalClients>,
}

/// The clients' shares of the data.
pub trait Shares: Send + Sync + 'static {
    /// Inputs of a sample.
    fn input_count(&self) -> u32;
    /// Outputs of a model: labels are below this; 1 where there are values.
    fn class_count(&self) -> u32;
    /// What one unit of an input byte means.
    fn value_scale(&self) -> f32;
    /// Samples in the share of a client.
    fn sample_count(&self, client: u32) -> u32;
    /// The samples of a client, `sample_count × input_count` bytes.
    fn samples(&self, client: u32) -> Vec<u8>;
    /// The labels of a client, or values in their place, `sample_count` of them.
    fn targets(&self, client: u32) -> Targets;
}

/// What the global model is tested on.
#[derive(Clone, Debug)]
pub struct TestSet {
    /// The samples, one after another.
    pub samples: Vec<u8>,
    /// What they should come to.
    pub targets: Targets,
    /// What 1 of a value to learn means, in its unit; of labels nothing.
    pub target_unit: f64,
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
    /// Round after round has failed.
    #[error(
        "{last}; it is failed round {failed} in a row, and coordinator.failed-rounds-max is {most}"
    )]
    TooManyFailed {
        /// How many.
        failed: u32,
        /// How many may.
        most: u32,
        /// Why the last has.
        last: Box<Self>,
    },
    /// Training leads away from every solution.
    #[error(
        "round {round}: the model diverged: {what} holds a number that is not finite (learning rate {learning_rate:?} is probably too high)"
    )]
    Diverged {
        /// Which round.
        round: u32,
        /// Which model.
        what: String,
        /// The round's learning rate.
        learning_rate: f32,
    },
    /// A client that this process plays has no result.
    #[error("round {round}: zfl failed to play client {client}, which is a fault of zfl")]
    Broken {
        /// Which round.
        round: u32,
        /// Which client.
        client: u32,
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
    pub(crate) model: Model,
    pub(crate) shares: Box<dyn Shares>,
    pub(crate) fleet_key: Token,
    pub(crate) refusals: Refusals,
    state: Mutex<State>,
    changes: watch::Sender<u64>,
    events: mpsc::UnboundedSender<Event>,
    round_over: OnceLock<RoundOver>,
}

/// What is called with the number of a round that is over.
type RoundOver = Box<dyn Fn(u32) + Send + Sync>;

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

    /// Counts a refusal, tells of it, and gives it back.
    pub(crate) fn refuse(&self, client: Option<u32>, request: &str, refusal: Refusal) -> Refusal {
        if self.refusals.count(refusal.kind) {
            self.tell(Event::Refused {
                client,
                kind: refusal.kind,
                request: request.to_owned(),
                reason: refusal.reason.clone(),
            });
        }
        refusal
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
        let failure = Failure {
            outcome,
            detail,
            diverged: false,
        };
        self.fail_as(round, client, failure);
    }

    /// As [`Shared::fail`].
    pub(crate) fn fail_as(&self, round: u32, client: u32, failure: Failure) {
        let failed = self
            .state()
            .open(round)
            .is_some_and(|open| open.fail(client, &failure));
        if failed {
            self.tell(Event::ClientFinished {
                round,
                client,
                outcome: failure.outcome,
                detail: failure.detail,
            });
            self.changed();
        }
    }

    /// Ends the run: a client that this process plays has no result.
    pub(crate) fn break_off(&self, client: u32) {
        self.state().broken.get_or_insert(client);
        self.changed();
    }

    /// Header of the start message of a client, whose payload `payload` is.
    pub(crate) fn start_header(
        &self,
        open: &OpenRound,
        client: u32,
        (payload, payload_crc32): (&[u8], u32),
    ) -> HeaderBytes {
        StartHeader {
            client: ClientId(client),
            round: RoundIndex(open.index),
            seed: self.options.plan.seed,
            task: open.task.encode().as_slice(),
            encoding: encoding(open.task.format),
            payload_bytes: u32::try_from(payload.len()).unwrap_or(u32::MAX),
            payload_crc32,
        }
        .encode()
    }
}

/// The coordinator of a run.
#[derive(Clone)]
pub struct Coordinator {
    shared: Arc<Shared>,
    test: Arc<TestSet>,
    caller: Caller,
    local: Option<Arc<dyn LocalClients>>,
}

/// Ends a round for its local clients, also when the run is cut off.
struct EndOnDrop(Arc<LocalRound>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end();
    }
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
        Self::with_local(options, shares, test, None)
    }

    /// As [`Coordinator::new`]; some or all clients are played in this
    /// process.
    ///
    /// # Errors
    /// When the model cannot be built or no randomness can be had.
    pub fn with_local(
        options: Options,
        shares: impl Shares,
        test: TestSet,
        local: Option<LocalPart>,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Event>), CoordinatorError> {
        let model = options.plan.task.model;
        let (events, receiver) = mpsc::unbounded_channel();
        let client_count = options.plan.client_count;
        let (numbers, local) = match local {
            Some(part) => (
                LocalNumbers::new(&part.numbers, client_count),
                Some(Arc::from(part.clients)),
            ),
            None => (LocalNumbers::default(), None),
        };
        let secrets = options.plan.resume.as_ref();
        let secrets = secrets.and_then(|resume| resume.secrets.as_ref());
        let mut tokens = secrets.map_or(&[][..], |secrets| &secrets.clients).iter();
        let fleet_key = match secrets {
            Some(secrets) => secrets.fleet_key,
            None => draw_token()?,
        };
        let remote = numbers
            .others(client_count)
            .map(|id| {
                Ok(Client {
                    id,
                    token: match tokens.next() {
                        Some(token) => *token,
                        None => draw_token()?,
                    },
                    board: String::new(),
                    endpoint: None,
                    joined: false,
                    provisioned: false,
                    began_anew: false,
                    restarts: 0,
                    lost: None,
                })
            })
            .collect::<Result<Vec<_>, CoordinatorError>>()?;
        let resume = options.plan.resume.as_ref();
        let carry = resume
            .map(|resume| resume.carry.clone())
            .unwrap_or_default();
        let shared = Arc::new(Shared {
            options,
            model,
            shares: Box::new(shares),
            fleet_key,
            refusals: Refusals::default(),
            state: Mutex::new(State {
                remote,
                local: numbers,
                round: None,
                hold_frozen: HashSet::new(),
                last_round: 0,
                past: VecDeque::new(),
                carry,
                broken: None,
            }),
            changes: watch::Sender::new(0),
            events,
            round_over: OnceLock::new(),
        });
        let coordinator = Self {
            caller: Caller::new(Arc::clone(&shared)).map_err(CoordinatorError::Call)?,
            shared,
            test: Arc::new(test),
            local,
        };
        Ok((coordinator, receiver))
    }

    #[cfg(test)]
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// The model that is trained.
    pub fn model(&self) -> &Model {
        &self.shared.model
    }

    /// The secret that lets a fleet host bring devices.
    pub fn fleet_key(&self) -> Token {
        self.shared.fleet_key
    }

    /// The numbers and secrets of the clients that are not played in this
    /// process, in the order of their numbers.
    pub fn tokens(&self) -> Vec<(u32, Token)> {
        let state = self.shared.state();
        let of_client = |client: &Client| (client.id, client.token);
        state.remote.iter().map(of_client).collect()
    }

    /// The HTTP interface without connections, for fuzzing.
    #[cfg(feature = "fuzz")]
    #[doc(hidden)]
    pub fn router(&self) -> axum::Router {
        crate::http::router(Arc::clone(&self.shared))
    }

    /// Serves the HTTP interface, until it is dropped, to whoever connects:
    /// each has so many connections and so much time
    /// ([`HEAD_DEADLINE`](crate::HEAD_DEADLINE) and the limits beside it).
    pub fn serve(&self, listener: TcpListener) -> impl Future<Output = ()> + Send + 'static {
        let shared = Arc::clone(&self.shared);
        let router = crate::http::router(Arc::clone(&shared));
        crate::serve::serve(shared, listener, router)
    }

    /// How often requests and connections were refused, by the name of the
    /// [`RefusalKind`](crate::RefusalKind).
    pub fn refusals(&self) -> BTreeMap<&'static str, u64> {
        self.shared.refusals.counts()
    }

    /// Has this called with the number of each round at the moment that it is
    /// over: before its model is evaluated, and before a client hears of the
    /// next. Events come later, when their receiver has time. Only the first
    /// one counts.
    pub fn on_round_over(&self, round_over: impl Fn(u32) + Send + Sync + 'static) {
        let _ = self.shared.round_over.set(Box::new(round_over));
    }

    /// Says that a client is gone, as `POST /lost` does.
    pub fn client_lost(&self, client: u32, reason: &str) {
        crate::call::lose(&self.shared, client, reason);
    }

    /// A socket for [`Coordinator::serve`].
    ///
    /// # Errors
    /// When the address is in use or may not be used.
    pub async fn listen(address: SocketAddr) -> Result<TcpListener, CoordinatorError> {
        TcpListener::bind(address)
            .await
            .map_err(|source| CoordinatorError::Listen { address, source })
    }

    /// Plays all rounds, or those until the target accuracy is reached; gives
    /// the final model.
    ///
    /// # Errors
    /// When too few clients are left or too few updates arrive in time.
    pub async fn run(&self) -> Result<Arc<Vec<f32>>, CoordinatorError> {
        self.run_after(std::future::ready(())).await
    }

    /// As [`Coordinator::run`]; the first round begins, and with it the time
    /// that clients have to become ready, when `gathered` is over. Bound it.
    ///
    /// # Errors
    /// When too few clients are left or too few updates arrive in time.
    pub async fn run_after(
        &self,
        gathered: impl Future<Output = ()>,
    ) -> Result<Arc<Vec<f32>>, CoordinatorError> {
        let plan = &self.shared.options.plan;
        let resume = plan.resume.as_ref();
        let last = resume.map_or(0, |resume| resume.round);
        let mut global = match resume.and_then(|resume| resume.parameters.as_ref()) {
            Some(parameters) => Arc::clone(parameters),
            None => self.initial()?,
        };
        if last == 0 {
            let quality = self.evaluate(&global).await?;
            self.shared.tell(Event::Initial {
                quality,
                model_sha256: hash(&global),
            });
        }
        let policy = &plan.policy;
        // Before the wait: who is lost meanwhile fails in the first round.
        let mut selection = match last < plan.rounds {
            true => self.select(last + 1),
            false => return Ok(global),
        };
        if policy.failed_rounds_max == 0 {
            selection = Ok(selection?);
        }
        gathered.await;
        let ready_deadline = Instant::now() + self.shared.options.deadlines.ready;
        for round in last + 1..=plan.rounds {
            if round > last + 1 {
                selection = self.select(round);
            }
            let played = match std::mem::replace(&mut selection, Ok(Vec::new())) {
                Ok(selected) => {
                    self.wait_until_ready(&selected, ready_deadline).await;
                    self.round(round, &global, &selected).await
                }
                Err(error) if policy.failed_rounds_max == 0 => return Err(error),
                Err(error) => match self.wait_for_clients(round).await {
                    Some(selected) => self.round(round, &global, &selected).await,
                    None => Played::by_nobody(round, error),
                },
            };
            let accuracy = self.tell_round(played, &mut global).await?;
            let is_reached = |target| accuracy.is_some_and(|accuracy| accuracy >= target);
            if plan.target_accuracy.is_some_and(is_reached) {
                break;
            }
        }
        Ok(global)
    }

    /// Tells what came of a round; the accuracy of the new model, if there is
    /// one and it has classes. A round without ends the run unless that may go on.
    async fn tell_round(
        &self,
        played: Played,
        global: &mut Arc<Vec<f32>>,
    ) -> Result<Option<f64>, CoordinatorError> {
        let failure = match played.aggregated {
            Ok(next) => {
                *global = next;
                None
            }
            Err(error) => Some(error),
        };
        let quality = self.evaluate(global).await?;
        let carry = {
            let carry = &mut self.shared.state().carry;
            carry.failed_rounds = match failure {
                None => 0,
                Some(_) => carry.failed_rounds.saturating_add(1),
            };
            carry.clone()
        };
        let record = RoundRecord {
            round: played.round,
            quality,
            host_seconds: played.began.elapsed().as_secs_f64(),
            model_sha256: hash(global),
            clients: played.clients,
            late: played.late,
        };
        let parameters = Arc::clone(global);
        let Some(error) = failure else {
            self.shared.tell(Event::RoundCompleted {
                record,
                parameters,
                carry,
            });
            return Ok(quality.accuracy);
        };
        let most = self.shared.options.plan.policy.failed_rounds_max;
        let failed = carry.failed_rounds;
        let goes_on = failed <= most && !played.is_fatal;
        self.shared.tell(Event::RoundFailed {
            record,
            reason: error.to_string(),
            parameters,
            carry: goes_on.then_some(carry),
        });
        match goes_on {
            true => Ok(None),
            false if played.is_fatal || most == 0 => Err(error),
            false => Err(CoordinatorError::TooManyFailed {
                failed,
                most,
                last: Box::new(error),
            }),
        }
    }

    /// Waits until there are clients enough for a round, no longer than a
    /// round may take.
    async fn wait_for_clients(&self, round: u32) -> Option<Vec<u32>> {
        let deadline = Instant::now() + self.shared.options.deadlines.round;
        let enough = |state: &mut State| self.select_from(state, round).ok();
        self.shared.wait_for(deadline, enough).await
    }

    /// The model before round 1.
    fn initial(&self) -> Result<Arc<Vec<f32>>, CoordinatorError> {
        let plan = &self.shared.options.plan;
        match &plan.initial {
            Initial::Given(parameters) => Ok(Arc::clone(parameters)),
            Initial::Drawn(initialisation) => {
                let model = &self.shared.model;
                let mut parameters = vec![0.0; model.parameter_count()];
                let mut stream = Stream::new(plan.seed, Purpose::InitialWeights, 0);
                model.initialise(&mut parameters, *initialisation, &mut stream)?;
                Ok(Arc::new(parameters))
            }
        }
    }

    async fn evaluate(&self, parameters: &Arc<Vec<f32>>) -> Result<Quality, CoordinatorError> {
        let threads = self.shared.options.threads;
        evaluate(self.shared.model, parameters, &self.test, threads).await
    }

    /// Draws the clients of a round among those that are not lost.
    fn select(&self, round: u32) -> Result<Vec<u32>, CoordinatorError> {
        self.select_from(&self.shared.state(), round)
    }

    fn select_from(&self, state: &State, round: u32) -> Result<Vec<u32>, CoordinatorError> {
        let plan = &self.shared.options.plan;
        let as_usize = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        let (wanted, most) = (plan.clients_per_round, plan.client_count);
        let count = as_usize(plan.policy.selected_count(wanted, most));
        let quorum = as_usize(plan.quorum);
        let is_lost = |id| state.lost(id).is_some();
        // The lost and those that rest are drawn and passed over: the loss of
        // one client does not change who else is drawn.
        let mut resting = Vec::new();
        let mut selected: Vec<u32> = Draw::new(plan.seed, round, plan.client_count)
            .filter(|id| !is_lost(*id))
            .filter(|id| {
                let rests = state.carry.rests_in(*id, round);
                if rests {
                    resting.push(*id);
                }
                !rests
            })
            .take(count)
            .collect();
        // No rest makes a round fail.
        let needed = quorum.saturating_sub(selected.len());
        selected.extend(resting.into_iter().take(needed));
        selected.sort_unstable();
        if selected.len() < quorum {
            let reason = |id: u32| {
                let reason = state.lost(id)?;
                Some(format!("client {id}: {reason}"))
            };
            return Err(CoordinatorError::TooFewClients {
                round,
                alive: selected.len(),
                client_count: as_usize(plan.client_count),
                quorum: plan.quorum,
                first_failure: (0..plan.client_count).find_map(reason).unwrap_or_default(),
            });
        }
        Ok(selected)
    }

    /// The clients of a round as they were drawn. Where some have to wait for
    /// their turn and not all are needed, the first must not be always the
    /// same.
    fn drawn_order(&self, round: u32, selected: &[u32]) -> Vec<u32> {
        let plan = &self.shared.options.plan;
        let drawn = Draw::new(plan.seed, round, plan.client_count);
        drawn
            .filter(|id| selected.binary_search(id).is_ok())
            .take(selected.len())
            .collect()
    }

    /// Plays one round.
    async fn round(&self, round: u32, global: &Arc<Vec<f32>>, selected: &[u32]) -> Played {
        let shared = &self.shared;
        let began = Instant::now();
        let plan = &shared.options.plan;
        let fixed = shared.options.deadlines.round;
        let mut task = plan.task;
        let learning_rate = &mut task.hyperparameters.learning_rate;
        *learning_rate = plan.schedule.learning_rate(*learning_rate, round);
        let payload = Arc::new(Payload::new(&task, global));
        let part;
        let (local, remote): (Vec<u32>, Vec<u32>) = {
            let mut state = shared.state();
            part = match &plan.policy.deadline {
                None => fixed,
                Some(rule) => rule.after(state.carry.durations_seconds.make_contiguous(), fixed),
            };
            let mut open =
                OpenRound::new((round, part), task, Arc::clone(global), payload, selected);
            let needed = usize::try_from(plan.clients_per_round).unwrap_or(usize::MAX);
            open.wanted = (selected.len() > needed).then_some(needed);
            let order = match open.wanted {
                None => selected.to_vec(),
                Some(_) => self.drawn_order(round, selected),
            };
            state.last_round = round;
            state.round = Some(open);
            let is_local = |id: &u32| state.local.contains(*id);
            order.iter().copied().partition(is_local)
        };
        shared.tell(Event::RoundStarted {
            round,
            clients: selected.to_vec(),
        });
        shared.changed();
        // As of those that are called: each has its time, and so many threads
        // play them. Not how busy the host is decides who is late.
        let turns = local.len().div_ceil(shared.options.threads.max(1)).max(1);
        let turns = u32::try_from(turns).unwrap_or(u32::MAX);
        let deadline = began + part.saturating_mul(turns);
        let called = self.call((round, part), remote);
        let playing = self.local.as_ref().filter(|_| !local.is_empty());
        let playing = playing.map(|clients| {
            let local = Arc::new(LocalRound::new(Arc::clone(shared), round, local));
            clients.play(Arc::clone(&local));
            EndOnDrop(local)
        });
        let decided = |state: &mut State| {
            let open = state.round.as_ref()?;
            (open.is_over() || state.broken.is_some()).then_some(state.broken)
        };
        let mut ended = shared.wait_for(deadline, decided).await;
        drop(playing);
        if ended.is_none() {
            // Those that are called have their own deadlines, from their turns
            // on, and end with them.
            let others = selected.iter().filter(|id| !called.ids.contains(id));
            others.for_each(|id| self.caller.give_up(round, *id, None));
            ended = shared.wait_for(called.deadline, decided).await;
        }
        drop(called);
        let broken = ended.flatten();
        let needed = plan.clients_per_round;
        let surplus = format!("the round has the {needed} updates that it needs");
        let is_full = (shared.state().open(round)).is_some_and(|open| open.is_full());
        let instead = match (broken, is_full) {
            (Some(_), _) => Some((Outcome::Late, "the run was broken off")),
            (None, true) => Some((Outcome::Surplus, surplus.as_str())),
            (None, false) => None,
        };
        for id in selected {
            self.caller.give_up(round, *id, instead);
        }
        let mut closed = self.close(global);
        if let Some(round_over) = shared.round_over.get() {
            round_over(round);
        }
        let aggregated = match broken {
            Some(client) => Err(CoordinatorError::Broken { round, client }),
            None => self.aggregate(round, &task, global, &mut closed),
        };
        let Closed { clients, late, .. } = closed;
        Played {
            round,
            began,
            clients,
            late,
            // Where enough updates make no model, nothing will.
            is_fatal: broken.is_some() || closed.is_enough,
            aggregated,
        }
    }

    /// Calls those of `clients` that can be called, so many at a time as may be.
    fn call(&self, (round, part): (u32, Duration), clients: Vec<u32>) -> Called {
        let options = &self.shared.options;
        let ids: HashSet<u32> = {
            let state = self.shared.state();
            let is_called = |id: &u32| state.client(*id).is_some_and(Client::is_called);
            clients.iter().copied().filter(is_called).collect()
        };
        let parallel = match options.parallel {
            Some(parallel) => usize::try_from(parallel.get()).unwrap_or(usize::MAX),
            None => ids.len().max(1),
        };
        let turns = Arc::new(Semaphore::new(parallel.min(Semaphore::MAX_PERMITS)));
        let mut tasks = JoinSet::new();
        for id in clients {
            let caller = self.caller.clone();
            if !ids.contains(&id) {
                tasks.spawn(async move { caller.start(round, id).await });
                continue;
            }
            let turns = Arc::clone(&turns);
            tasks.spawn(async move {
                // The semaphore is never closed; if it were, all would be
                // called at once.
                let turn = turns.acquire_owned().await.ok();
                caller.play(round, id, Instant::now() + part).await;
                drop(turn);
            });
        }
        // Each turn ends with its deadline, and with it the last of so many.
        let turns_each = u32::try_from(ids.len().div_ceil(parallel)).unwrap_or(u32::MAX);
        let longest = part.saturating_mul(turns_each.max(1));
        let now = Instant::now();
        Called {
            ids,
            deadline: now.checked_add(longest).unwrap_or(now + FAR),
            _tasks: tasks,
        }
    }

    /// Waits until the clients have their data (or are lost).
    async fn wait_until_ready(&self, selected: &[u32], deadline: Instant) {
        // Those that are played in this process take theirs when they need it,
        // and those that begin anew have the time of their part for it.
        let is_settled =
            |client: &Client| client.provisioned || client.began_anew || client.lost.is_some();
        let all_settled = |state: &mut State| {
            selected
                .iter()
                .filter_map(|id| state.client(*id))
                .all(is_settled)
                .then_some(())
        };
        self.shared.wait_for(deadline, all_settled).await;
    }

    /// Closes the open round, which trained from `global`.
    fn close(&self, global: &Arc<Vec<f32>>) -> Closed {
        let plan = &self.shared.options.plan;
        let staleness = plan.policy.staleness;
        let mut state = self.shared.state();
        let mut closed = Closed::default();
        let Some(open) = state.round.take() else {
            return closed;
        };
        let round = open.index;
        let mut waited = BTreeMap::new();
        for (id, slot) in open.slots {
            let Some(decision) = slot.decision else {
                continue;
            };
            let is_local = state.local.contains(id);
            let board = match state.client(id) {
                Some(client) => client.board.clone(),
                None => BOARD_NATIVE.to_owned(),
            };
            if decision.diverged {
                closed.diverged.push(id);
            }
            let is_unfinished = matches!(decision.outcome, Outcome::Late | Outcome::Surplus);
            let is_waited_for = is_unfinished && slot.started.is_some();
            if is_waited_for {
                waited.insert(id, false);
            }
            if plan.policy.deadline.is_some() && (decision.outcome == Outcome::Ok || is_waited_for)
            {
                state.carry.took(decision.host_seconds);
            }
            match decision.outcome {
                Outcome::Ok => state.carry.succeeded(id),
                Outcome::Surplus => {}
                _ => plan.policy.rest.failed(&mut state.carry, id, round),
            }
            closed.clients.push(ClientRecord {
                client: id,
                board,
                is_local,
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
            closed.updates.extend(decision.update);
        }
        closed.is_enough =
            closed.updates.len() >= usize::try_from(plan.quorum).unwrap_or(usize::MAX);
        if staleness.rounds_max > 0 {
            use_late(&mut closed, &mut state.carry, staleness, round, global);
            state.past.push_back(PastRound {
                index: round,
                global: Arc::clone(global),
                waited,
            });
            // An update for the first of them could be used in the next round.
            let kept = usize::try_from(staleness.rounds_max).unwrap_or(usize::MAX);
            while state.past.len() > kept {
                state.past.pop_front();
            }
        }
        closed
    }

    /// The next global model from the updates of a round.
    fn aggregate(
        &self,
        round: u32,
        task: &Task,
        global: &[f32],
        closed: &mut Closed,
    ) -> Result<Arc<Vec<f32>>, CoordinatorError> {
        let quorum = self.shared.options.plan.quorum;
        let diverged = |what| CoordinatorError::Diverged {
            round,
            what,
            learning_rate: task.hyperparameters.learning_rate,
        };
        let (clients, updates) = (&closed.clients, &mut closed.updates);
        let is_enough = closed.is_enough;
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
        if !is_enough {
            // Where nothing else went wrong, that is the reason.
            return Err(match closed.diverged.first() {
                Some(first) if updates.len() + closed.diverged.len() == clients.len() => {
                    diverged(format!("the update of client {first}"))
                }
                _ => too_few(updates.len()),
            });
        }
        let mean = fed_avg::aggregate(updates).ok_or_else(|| too_few(0))?;
        match first_non_finite(&mean) {
            Some(_) => Err(diverged("the new global model".to_owned())),
            // What is frozen is in no update.
            None => match global.get(..global.len() - mean.len().min(global.len())) {
                None | Some([]) => Ok(Arc::new(mean)),
                Some(frozen) => Ok(Arc::new([frozen, &mean].concat())),
            },
        }
    }
}

/// The calls of a round; they end when this is dropped.
struct Called {
    /// The clients that are called.
    ids: HashSet<u32>,
    /// When the last of them has ended at the latest.
    deadline: Instant,
    _tasks: JoinSet<()>,
}

/// A round that is over.
struct Played {
    round: u32,
    began: Instant,
    clients: Vec<ClientRecord>,
    late: Vec<LateRecord>,
    /// Without a model from it the run cannot go on.
    is_fatal: bool,
    aggregated: Result<Arc<Vec<f32>>, CoordinatorError>,
}

impl Played {
    /// A round for which there are no clients.
    fn by_nobody(round: u32, error: CoordinatorError) -> Self {
        Self {
            round,
            began: Instant::now(),
            clients: Vec::new(),
            late: Vec::new(),
            is_fatal: false,
            aggregated: Err(error),
        }
    }
}

/// Moves the late updates that are carried into the mean of a round that has
/// updates enough, and forgets those that are too stale for the next.
fn use_late(
    closed: &mut Closed,
    carry: &mut Carry,
    staleness: Staleness,
    round: u32,
    global: &[f32],
) {
    let sent: HashSet<u32> = closed.updates.iter().map(|update| update.client).collect();
    // A client counts once in a mean, with what it has learnt last.
    carry.late.retain(|late| !sent.contains(&late.client));
    if !closed.is_enough {
        carry
            .late
            .retain(|late| (round + 1).saturating_sub(late.round) <= staleness.rounds_max);
        return;
    }
    for late in carry.late.drain(..) {
        let age = round.saturating_sub(late.round);
        if age > staleness.rounds_max {
            continue;
        }
        let weight = staleness.weight(age);
        closed.late.push(LateRecord {
            client: late.client,
            round: late.round,
            weight,
        });
        let frozen = global.len() - late.change.len().min(global.len());
        let trained = global.get(frozen..).unwrap_or_default();
        let moved = trained.iter().zip(&late.change);
        closed.updates.push(Update {
            client: late.client,
            sample_count: late.sample_count,
            staleness_weight: weight,
            parameters: moved.map(|(now, change)| now + change).collect(),
        });
    }
}

/// What came of a round.
#[derive(Default)]
struct Closed {
    clients: Vec<ClientRecord>,
    updates: Vec<Update>,
    /// As many updates of the round as it needs at least.
    is_enough: bool,
    /// The updates of earlier rounds among the updates.
    late: Vec<LateRecord>,
    /// Clients whose updates were refused for a number that is not finite.
    diverged: Vec<u32>,
}

fn draw_token() -> Result<Token, CoordinatorError> {
    let mut bytes = [0; Token::BYTES];
    getrandom::fill(&mut bytes).map_err(CoordinatorError::Token)?;
    Ok(Token::new(bytes))
}
