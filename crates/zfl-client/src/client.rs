//! The client itself.

use zfl_nn::{Draw, Evaluation, Format, InputError, NonZero, Progress, SAMPLES_MAX, Task};
use zfl_proto::http::EntityTag;
use zfl_proto::message::{
    Assignment, Checksum, DataHeader, DataPart, DeviceMetrics, Encoding, HEADER_BYTES_MAX,
    HeaderBytes, Kind, Metrics, PREFIX_BYTES, Prefix, StartHeader, UpdateHeader,
};
use zfl_proto::{ClientId, RoundIndex, ShareRecord};

use crate::tamper::falsify;
use crate::trainer::Trainer;
use crate::{Needs, Refusal, Tamper};

/// What the client wants to ask the coordinator next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// `GET /id`; the answer is received as [`Kind::Assignment`].
    Id,
    /// `GET /training-data`; the answer is received as [`Kind::Samples`].
    TrainingData(ClientId),
    /// `GET /training-labels`; the answer is received as [`Kind::Labels`].
    TrainingLabels(ClientId),
    /// `POST /results` with the bytes of [`Client::update`], then
    /// [`Client::reported`].
    Results(ClientId),
}

/// What the client is doing, for `/ready` and the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It does not know who it is.
    Unassigned,
    /// It knows who it is and lacks data.
    Assigned,
    /// A round can start.
    Ready,
    /// A model is arriving.
    Receiving,
    /// It trains.
    Training,
    /// It has an update to send.
    Reporting,
}

impl State {
    /// One word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unassigned => "unassigned",
            Self::Assigned => "assigned",
            Self::Ready => "ready",
            Self::Receiving => "receiving",
            Self::Training => "training",
            Self::Reporting => "reporting",
        }
    }
}

/// The round that the client is in.
#[derive(Clone, Copy)]
struct Round {
    index: RoundIndex,
    seed: u64,
    needs: Needs,
    encoding: Encoding,
    /// Bytes of the parameters before those that train.
    frozen_bytes: usize,
}

enum Phase {
    Unassigned,
    Assigned,
    HasSamples,
    Ready,
    Receiving(Round),
    Training(Round),
    Reporting(Round),
}

/// A message that is arriving.
struct Incoming {
    kind: Kind,
    header: [u8; HEADER_BYTES_MAX],
    header_filled: usize,
    payload: Option<Payload>,
}

/// Where the payload of the message goes.
struct Payload {
    offset: usize,
    length: usize,
    filled: usize,
    crc32: u32,
    checksum: Checksum,
}

/// The share that the client holds.
struct Share {
    needs: Needs,
    /// That of the samples; its part says what they have as targets.
    header: DataHeader,
}

/// A client of federated learning over memory it was given.
pub struct Client<'m> {
    arena: &'m mut [u64],
    id: ClientId,
    round: RoundIndex,
    phase: Phase,
    share: Option<Share>,
    /// The share is one that it knew again, as a whole; whether it is that of
    /// this client the coordinator has not said yet.
    is_recalled: bool,
    /// The training of this round, or of the last one; the frozen parameters
    /// of its model are in the arena.
    training: Option<Trainer>,
    /// Samples that are processed together.
    block: usize,
    incoming: Option<Incoming>,
    arena_peak_bytes: usize,
}

/// A client without its memory: a value that can be kept until its next
/// round. See [`Client::park`].
pub struct Parked(Client<'static>);

impl Parked {
    /// The client again. `arena` must be the memory that it was parked from,
    /// with the contents of then; it may lie elsewhere.
    pub fn resume(self, arena: &mut [u64]) -> Client<'_> {
        let mut client: Client<'_> = self.0;
        client.arena = arena;
        client
    }
}

impl<'m> Client<'m> {
    /// Lets go of the memory. A host that plays more clients than it has
    /// threads keeps each with a memory of its own.
    pub fn park(self) -> Parked {
        let Self {
            arena: _,
            id,
            round,
            phase,
            share,
            is_recalled,
            training,
            block,
            incoming,
            arena_peak_bytes,
        } = self;
        Parked(Client {
            arena: &mut [],
            id,
            round,
            phase,
            share,
            is_recalled,
            training,
            block,
            incoming,
            arena_peak_bytes,
        })
    }

    /// A client that knows nothing yet.
    pub fn new(arena: &'m mut [u64]) -> Self {
        Self::with_block(arena, 1)
    }

    /// As [`Client::new`], for a client that processes `block` samples at once
    /// ([`zfl_nn::BLOCK_FAST`] where memory is plenty). The results are equal.
    pub fn with_block(arena: &'m mut [u64], block: usize) -> Self {
        Self {
            arena,
            id: ClientId(0),
            round: RoundIndex(0),
            phase: Phase::Unassigned,
            share: None,
            is_recalled: false,
            training: None,
            block,
            incoming: None,
            arena_peak_bytes: 0,
        }
    }

    /// Leaves it no more than `bytes` of its arena, whole words of 8. What it
    /// holds beyond is lost, so it is to be asked before anything arrived.
    pub fn limit(&mut self, bytes: usize) {
        let arena = core::mem::take(&mut self.arena);
        let words = arena.len().min(bytes / size_of::<u64>());
        (self.arena, _) = arena.split_at_mut(words);
    }

    /// What it is doing.
    pub fn state(&self) -> State {
        match self.phase {
            Phase::Unassigned => State::Unassigned,
            Phase::Assigned | Phase::HasSamples => State::Assigned,
            Phase::Ready => State::Ready,
            Phase::Receiving(_) => State::Receiving,
            Phase::Training(_) => State::Training,
            Phase::Reporting(_) => State::Reporting,
        }
    }

    /// Who it is; `None` before it was told.
    pub fn id(&self) -> Option<ClientId> {
        match self.phase {
            Phase::Unassigned => None,
            _ => Some(self.id),
        }
    }

    /// The last round it took part in; 0 before the first.
    pub fn round(&self) -> RoundIndex {
        self.round
    }

    /// Samples in its share; 0 before it has one.
    pub fn sample_count(&self) -> u32 {
        self.share
            .as_ref()
            .map_or(0, |share| share.header.sample_count)
    }

    /// The samples of its share; none before it has them.
    pub fn samples(&mut self) -> &[u8] {
        let arrived = !matches!(self.phase, Phase::Unassigned | Phase::Assigned);
        let needs = self.share.as_ref().map(|share| share.needs);
        needs
            .filter(|_| arrived)
            .and_then(|needs| needs.cut(bytemuck::cast_slice_mut(self.arena)))
            .map_or(&[], |regions| regions.samples)
    }

    /// Most bytes of an arena that were in use, or would have been where
    /// samples are processed one at a time.
    pub fn arena_peak_bytes(&self) -> usize {
        self.arena_peak_bytes
    }

    /// Size of the arena, in bytes.
    pub fn arena_bytes(&self) -> usize {
        size_of_val(self.arena)
    }

    /// What to ask the coordinator next; `None`: wait for `/start`, or train.
    pub fn next_request(&self) -> Option<Request> {
        match self.phase {
            Phase::Unassigned => Some(Request::Id),
            Phase::Assigned => Some(Request::TrainingData(self.id)),
            Phase::HasSamples => Some(Request::TrainingLabels(self.id)),
            Phase::Reporting(_) => Some(Request::Results(self.id)),
            Phase::Ready | Phase::Receiving(_) | Phase::Training(_) => None,
        }
    }

    /// What is to be known of its share in memory that outlives the client;
    /// `None` before it has one. See [`Client::recall`].
    pub fn record(&self) -> Option<ShareRecord> {
        match self.phase {
            Phase::Unassigned | Phase::Assigned | Phase::HasSamples => None,
            _ => self.share_record(),
        }
    }

    fn share_record(&self) -> Option<ShareRecord> {
        let Share { needs, header } = self.share.as_ref()?;
        let bytes: &[u8] = bytemuck::cast_slice(self.arena);
        let [samples_end, ..] = needs.ends();
        let targets = bytes.get(samples_end..)?.get(..needs.labels_bytes)?;
        Some(ShareRecord {
            samples: DataHeader {
                part: DataPart::Samples,
                ..*header
            },
            targets: DataHeader {
                payload_crc32: Checksum::of(targets),
                ..*header
            },
        })
    }

    /// Looks whether the share of the record still lies in the arena, where a
    /// client before it had left it; whether it does. It is then the client's,
    /// if the coordinator says so: see [`Client::recalled`].
    ///
    /// To be asked before anything arrived.
    pub fn recall(&mut self, record: &ShareRecord) -> bool {
        if !matches!(self.phase, Phase::Unassigned) {
            return false;
        }
        let share = DataHeader {
            part: record.targets.part,
            ..record.samples
        };
        self.is_recalled = self.take_share(share).is_ok_and(|(start, length)| {
            let bytes: &[u8] = bytemuck::cast_slice(self.arena);
            let samples = bytes.get(start..).and_then(|rest| rest.get(..length));
            samples.is_some_and(|bytes| Checksum::of(bytes) == record.samples.payload_crc32)
        }) && self.share_record().as_ref() == Some(record)
            && self.check_labels().is_ok();
        if !self.is_recalled {
            self.share = None;
        }
        self.is_recalled
    }

    /// Of what [`Client::next_request`] asks for, the tag of the answer that is
    /// already here: to be sent as `If-None-Match`. If the coordinator says
    /// that nothing has changed, [`Client::keep`] is to be told instead of a
    /// message received.
    pub fn recalled(&self) -> Option<EntityTag> {
        let record = self.share_record().filter(|_| self.has_recalled())?;
        match self.phase {
            Phase::Assigned => Some(record.samples.tag()),
            Phase::HasSamples => Some(record.targets.tag()),
            _ => None,
        }
    }

    /// Whether the share that it knew again is this client's.
    fn has_recalled(&self) -> bool {
        let client = self.share.as_ref().map(|share| share.header.client);
        self.is_recalled && client == Some(self.id)
    }

    /// The coordinator says that what was [recalled](Client::recalled) is what
    /// was asked for.
    ///
    /// # Errors
    /// When there was nothing.
    pub fn keep(&mut self) -> Result<(), Refusal> {
        self.phase = match self.phase {
            Phase::Assigned if self.has_recalled() => Phase::HasSamples,
            Phase::HasSamples if self.has_recalled() => Phase::Ready,
            _ => return Err(Refusal::NotReady),
        };
        self.incoming = None;
        Ok(())
    }

    /// Begins to receive a message of `kind`; one that was arriving is
    /// forgotten.
    ///
    /// # Errors
    /// When the client does not expect such a message now: a `/start` while it
    /// is busy or without data.
    pub fn receive(&mut self, kind: Kind) -> Result<(), Refusal> {
        match (kind, &self.phase) {
            (Kind::Assignment, Phase::Unassigned)
            | (Kind::Samples, Phase::Assigned)
            | (Kind::Labels, Phase::HasSamples)
            | (Kind::Start, Phase::Ready) => {}
            (_, Phase::Unassigned | Phase::Assigned | Phase::HasSamples) => {
                return Err(Refusal::NotReady);
            }
            _ => return Err(Refusal::Busy),
        }
        self.incoming = Some(Incoming {
            kind,
            header: [0; HEADER_BYTES_MAX],
            header_filled: 0,
            payload: None,
        });
        Ok(())
    }

    /// Where the next bytes of the message belong; empty when it is complete
    /// (or none is arriving). Fill a part or all of it from its beginning and
    /// say so with [`Client::received`].
    pub fn receive_buffer(&mut self) -> &mut [u8] {
        let Some(incoming) = &mut self.incoming else {
            return &mut [];
        };
        match &incoming.payload {
            None => {
                let wanted = wanted_header_bytes(incoming);
                incoming
                    .header
                    .get_mut(incoming.header_filled..wanted)
                    .unwrap_or_default()
            }
            Some(payload) => {
                let bytes: &mut [u8] = bytemuck::cast_slice_mut(self.arena);
                bytes
                    .get_mut(payload.offset + payload.filled..payload.offset + payload.length)
                    .unwrap_or_default()
            }
        }
    }

    /// Says that the first `count` bytes of [`Client::receive_buffer`] hold the
    /// next bytes of the message.
    ///
    /// # Errors
    /// When the header just completed is refused; the message is forgotten.
    pub fn received(&mut self, count: usize) -> Result<(), Refusal> {
        let Some(incoming) = &mut self.incoming else {
            return if count == 0 {
                Ok(())
            } else {
                Err(Refusal::TrailingBytes)
            };
        };
        if let Some(payload) = &mut incoming.payload {
            let bytes: &[u8] = bytemuck::cast_slice(self.arena);
            let start = payload.offset + payload.filled;
            let count = count.min(payload.length - payload.filled);
            payload
                .checksum
                .update(bytes.get(start..start + count).unwrap_or_default());
            payload.filled += count;
            return Ok(());
        }
        let wanted = wanted_header_bytes(incoming);
        incoming.header_filled = (incoming.header_filled + count).min(wanted);
        if incoming.header_filled < PREFIX_BYTES {
            return Ok(());
        }
        let taken = match Prefix::decode(&incoming.header) {
            Ok(prefix) if incoming.header_filled < prefix.header_bytes => return Ok(()),
            Ok(prefix) => self.header_complete(&prefix),
            Err(error) => Err(error.into()),
        };
        if taken.is_err() {
            self.abandon();
        }
        taken
    }

    /// Takes in bytes that lie elsewhere: copies them into
    /// [`Client::receive_buffer`].
    ///
    /// # Errors
    /// As [`Client::received`], and when the message is over.
    pub fn receive_bytes(&mut self, mut bytes: &[u8]) -> Result<(), Refusal> {
        while !bytes.is_empty() {
            let buffer = self.receive_buffer();
            let count = buffer.len().min(bytes.len());
            if count == 0 {
                self.abandon();
                return Err(Refusal::TrailingBytes);
            }
            let (head, tail) = bytes.split_at(count);
            buffer[..count].copy_from_slice(head);
            self.received(count)?;
            bytes = tail;
        }
        Ok(())
    }

    /// Forgets the message that is arriving.
    pub fn abandon(&mut self) {
        self.incoming = None;
        match self.phase {
            Phase::Assigned if !self.is_recalled => self.share = None,
            Phase::Receiving(_) => {
                self.phase = Phase::Ready;
                self.training = None;
            }
            _ => {}
        }
    }

    /// Ends the message: checks it and acts on it.
    ///
    /// # Errors
    /// When it is incomplete or its payload wrong; it is forgotten then.
    pub fn receive_end(&mut self) -> Result<(), Refusal> {
        match self.message_complete() {
            Ok(phase) => {
                self.phase = phase;
                self.incoming = None;
                Ok(())
            }
            Err(refusal) => {
                self.abandon();
                Err(refusal)
            }
        }
    }

    /// Acts on the complete header of the message that is arriving.
    fn header_complete(&mut self, prefix: &Prefix) -> Result<(), Refusal> {
        let Some(incoming) = &self.incoming else {
            return Ok(());
        };
        // A copy, as the header changes more than the message.
        let (kind, bytes) = (incoming.kind, incoming.header);
        let header = bytes.get(..prefix.header_bytes).unwrap_or(&bytes);
        if kind != Kind::Assignment && prefix.client != self.id {
            return Err(Refusal::OtherClient {
                own: self.id,
                named: prefix.client,
            });
        }
        let (offset, length) = match kind {
            Kind::Assignment => {
                self.id = Assignment::decode(header)?.client;
                (0, 0)
            }
            Kind::Samples => {
                let header = DataHeader::decode(header, DataPart::Samples)?;
                self.take_share(header)?
            }
            Kind::Labels => {
                let header = DataHeader::decode(header, DataPart::Labels)?;
                self.take_labels(&header)?
            }
            Kind::Start => {
                let header = StartHeader::decode(header)?;
                self.take_start(&header)?
            }
            // `receive` lets no update in.
            Kind::Update => return Err(Refusal::Busy),
        };
        if let Some(incoming) = &mut self.incoming {
            incoming.payload = Some(Payload {
                offset,
                length,
                filled: 0,
                crc32: prefix.payload_crc32,
                checksum: Checksum::new(),
            });
        }
        Ok(())
    }

    /// Makes room for a share; where its samples go.
    fn take_share(&mut self, header: DataHeader) -> Result<(usize, usize), Refusal> {
        if as_usize(header.sample_count) > SAMPLES_MAX {
            return Err(Refusal::TooManySamples {
                sample_count: header.sample_count,
            });
        }
        let needs = self.hold(header)?;
        Ok((0, needs.samples_bytes))
    }

    /// Takes a share for its own, as far as the memory allows.
    fn hold(&mut self, header: DataHeader) -> Result<Needs, Refusal> {
        let sample_count = as_usize(header.sample_count);
        let mut needs = Needs::of_share(sample_count, as_usize(header.input_count));
        if header.part == DataPart::Values {
            needs = needs.with_values(as_usize(header.class_count));
        }
        let peak = needs.total_bytes();
        let needs = needs.with_block(self.block);
        self.claim(&needs)?;
        self.training = None;
        self.arena_peak_bytes = self.arena_peak_bytes.max(peak);
        self.is_recalled = false;
        self.share = Some(Share { needs, header });
        Ok(needs)
    }

    /// Checks labels, or the values in their place, against the samples; where
    /// they go.
    fn take_labels(&mut self, header: &DataHeader) -> Result<(usize, usize), Refusal> {
        let share = self.share.as_ref().ok_or(Refusal::NotReady)?;
        check("samples", share.header.sample_count, header.sample_count)?;
        check("classes", share.header.class_count, header.class_count)?;
        // Values take more room than the labels that the samples were taken with.
        let needs = self.hold(DataHeader {
            part: header.part,
            ..share.header
        })?;
        let [samples_end, ..] = needs.ends();
        Ok((samples_end, needs.labels_bytes))
    }

    /// Checks a round against the data and the memory; where its model goes.
    ///
    /// Kept apart: it takes far more stack than the arrival of data.
    #[inline(never)]
    fn take_start(&mut self, header: &StartHeader<'_>) -> Result<(usize, usize), Refusal> {
        let share = self.share.as_ref().ok_or(Refusal::NotReady)?;
        let task = Task::decode(header.task).map_err(Refusal::Task)?;
        let named = |count| u32::try_from(count).unwrap_or(u32::MAX);
        check(
            "inputs",
            share.header.input_count,
            named(task.model.input_count()),
        )?;
        check(
            "classes",
            share.header.class_count,
            named(task.model.output_count()),
        )?;
        if header.encoding != encoding(task.format) {
            return Err(Refusal::Encoding);
        }
        let needs = share.needs.with_task(&task);
        let (frozen_bytes, trained_bytes) = (
            needs.parameters_bytes - task.trained_bytes(),
            task.trained_bytes(),
        );
        let payload_bytes = as_usize(header.payload_bytes);
        // The frozen parameters need not come again.
        let start = if payload_bytes == needs.parameters_bytes {
            0
        } else if payload_bytes != trained_bytes {
            return Err(Refusal::PayloadLength {
                needed_bytes: needs.parameters_bytes,
                present_bytes: payload_bytes,
            });
        } else if self.training.as_ref().is_some_and(|last| last.suits(&task)) {
            frozen_bytes
        } else {
            return Err(Refusal::FrozenMissing);
        };
        let draw = Draw {
            seed: header.seed,
            client: self.id.0,
            round: header.round.0,
        };
        let peak = share.needs.with_block(1).with_task(&task).total_bytes();
        self.claim(&needs)?;
        Trainer::start(
            &mut self.training,
            &task,
            share.needs.sample_count(),
            self.block,
            draw,
            share.header.value_scale,
        )
        .map_err(Refusal::Input)?;
        self.arena_peak_bytes = self.arena_peak_bytes.max(peak);
        self.phase = Phase::Receiving(Round {
            index: header.round,
            seed: header.seed,
            needs,
            encoding: header.encoding,
            frozen_bytes,
        });
        let [_, _, order_end, ..] = needs.ends();
        Ok((order_end + start, needs.parameters_bytes - start))
    }

    /// Checks that the arena is large enough.
    fn claim(&self, needs: &Needs) -> Result<(), Refusal> {
        let needed_bytes = needs.total_bytes();
        let available_bytes = self.arena_bytes();
        if needed_bytes > available_bytes {
            return Err(Refusal::DoesNotFit {
                needed_bytes,
                available_bytes,
            });
        }
        Ok(())
    }

    /// Checks the payload; the phase that follows.
    fn message_complete(&mut self) -> Result<Phase, Refusal> {
        let Some(incoming) = &mut self.incoming else {
            return Err(Refusal::Incomplete {
                missing_bytes: PREFIX_BYTES,
            });
        };
        let Some(payload) = &mut incoming.payload else {
            return Err(Refusal::Incomplete {
                missing_bytes: wanted_header_bytes(incoming) - incoming.header_filled,
            });
        };
        let missing_bytes = payload.length - payload.filled;
        if missing_bytes > 0 {
            return Err(Refusal::Incomplete { missing_bytes });
        }
        if core::mem::take(&mut payload.checksum).finish() != payload.crc32 {
            return Err(Refusal::Checksum);
        }
        match (incoming.kind, &self.phase) {
            (Kind::Assignment, _) => Ok(Phase::Assigned),
            (Kind::Samples, _) => Ok(Phase::HasSamples),
            (Kind::Labels, _) => {
                self.check_labels()?;
                Ok(Phase::Ready)
            }
            (_, Phase::Receiving(round)) => {
                let round = *round;
                self.check_parameters(&round)?;
                self.round = round.index;
                Ok(Phase::Training(round))
            }
            _ => Err(Refusal::NotReady),
        }
    }

    fn check_labels(&mut self) -> Result<(), Refusal> {
        let share = self.share.as_ref().ok_or(Refusal::NotReady)?;
        let class_count = as_usize(share.header.class_count);
        let regions = share
            .needs
            .cut(bytemuck::cast_slice_mut(self.arena))
            .ok_or(Refusal::NotReady)?;
        regions
            .targets
            .check(share.needs.sample_count(), class_count)
            .map_err(Refusal::Input)
    }

    fn check_parameters(&mut self, round: &Round) -> Result<(), Refusal> {
        let regions = round
            .needs
            .cut(bytemuck::cast_slice_mut(self.arena))
            .ok_or(Refusal::NotReady)?;
        if round.encoding != Encoding::F32 {
            return Ok(());
        }
        let (values, _) = regions.parameters.as_chunks::<4>();
        match values
            .iter()
            .position(|value| !f32::from_le_bytes(*value).is_finite())
        {
            None => Ok(()),
            Some(parameter) => Err(Refusal::NonFinite { parameter }),
        }
    }

    /// Trains for at most `units` units of work (see
    /// [`zfl_nn::Training::advance`]). `Done` when there is nothing (more) to
    /// train.
    ///
    /// A training that diverges is done, with an update whose loss is no
    /// finite number.
    ///
    /// # Errors
    /// When the data do not suit the model; the client is ready again then.
    pub fn train(&mut self, units: usize) -> Result<Progress, Refusal> {
        self.train_with(units, None)
    }

    /// As [`Client::train`], where it is known what in [`Client::samples`] is
    /// not 0.
    ///
    /// # Errors
    /// As [`Client::train`].
    pub fn train_with(
        &mut self,
        units: usize,
        non_zero: Option<NonZero<'_>>,
    ) -> Result<Progress, Refusal> {
        let (Phase::Training(round), Some(training)) = (&self.phase, &mut self.training) else {
            return Ok(Progress::Done);
        };
        let round = *round;
        let Some(regions) = round.needs.cut(bytemuck::cast_slice_mut(self.arena)) else {
            return Ok(Progress::Done);
        };
        match training.advance(regions, non_zero, units) {
            Ok(Progress::Done) | Err(InputError::Diverged { .. }) => {
                self.phase = Phase::Reporting(round);
                Ok(Progress::Done)
            }
            Ok(Progress::Working) => Ok(Progress::Working),
            Err(error) => {
                self.phase = Phase::Ready;
                Err(Refusal::Input(error))
            }
        }
    }

    /// The update to send, header and payload; `None` when there is none.
    pub fn update(&self, device: DeviceMetrics) -> Option<(HeaderBytes, &[u8])> {
        let (Phase::Reporting(round), Some(training)) = (&self.phase, &self.training) else {
            return None;
        };
        let [_, _, start, ..] = round.needs.ends();
        let bytes: &[u8] = bytemuck::cast_slice(self.arena);
        let trained = start + round.frozen_bytes..start + round.needs.parameters_bytes;
        let payload = bytes.get(trained)?;
        let (first, last) = training.epochs();
        let header = UpdateHeader {
            client: self.id,
            round: round.index,
            sample_count: self.sample_count(),
            metrics: Metrics {
                loss_first_epoch: loss(first),
                loss_last_epoch: loss(last),
                accuracy_first_epoch: accuracy(first),
                accuracy_last_epoch: accuracy(last),
                device,
            },
            encoding: round.encoding,
            payload_bytes: u32::try_from(payload.len()).ok()?,
            payload_crc32: Checksum::of(payload),
        };
        Some((header.encode(), payload))
    }

    /// Falsifies the update that is to be sent, as whoever means harm would.
    /// There is nothing to falsify before the training is over.
    pub fn tamper(&mut self, tamper: Tamper) {
        let Phase::Reporting(round) = &self.phase else {
            return;
        };
        let [_, _, start, ..] = round.needs.ends();
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(self.arena);
        let trained = start + round.frozen_bytes..start + round.needs.parameters_bytes;
        let draw = Draw {
            seed: round.seed,
            client: self.id.0,
            round: round.index.0,
        };
        if let Some(payload) = bytes.get_mut(trained) {
            falsify(payload, round.encoding, tamper, draw);
        }
    }

    /// Gives the training up, or the update that came of it: ready again.
    pub fn give_up(&mut self) {
        if matches!(self.phase, Phase::Training(_) | Phase::Reporting(_)) {
            self.phase = Phase::Ready;
        }
    }

    /// The coordinator has the update, or will not have it: ready again.
    pub fn reported(&mut self) {
        if matches!(self.phase, Phase::Reporting(_)) {
            self.phase = Phase::Ready;
        }
    }
}

/// How many bytes of header there must be before it can be looked at again.
fn wanted_header_bytes(incoming: &Incoming) -> usize {
    match Prefix::decode(&incoming.header) {
        Ok(prefix) if incoming.header_filled >= PREFIX_BYTES => prefix.header_bytes,
        _ => PREFIX_BYTES,
    }
}

fn check(what: &'static str, own: u32, named: u32) -> Result<(), Refusal> {
    if own == named {
        Ok(())
    } else {
        Err(Refusal::Mismatch { what, own, named })
    }
}

/// How parameters of a format are sent.
const fn encoding(format: Format) -> Encoding {
    match format {
        Format::F32 => Encoding::F32,
        Format::Fixed32 => Encoding::Fixed32,
        Format::Fixed16 => Encoding::Fixed16,
        Format::Fixed8 => Encoding::Fixed8,
    }
}

/// All targets have at least 32 bits.
const fn as_usize(value: u32) -> usize {
    value as usize
}

#[expect(clippy::cast_possible_truncation, reason = "a metric, for people")]
fn loss(evaluation: &Evaluation) -> f32 {
    evaluation.loss() as f32
}

#[expect(clippy::cast_possible_truncation, reason = "a metric, for people")]
fn accuracy(evaluation: &Evaluation) -> f32 {
    evaluation.accuracy() as f32
}
