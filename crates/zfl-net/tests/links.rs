//! What a link does to frames, measured by frames that pass the switch under
//! virtual time.
//!
//! Every test sends numbered frames at a port and looks at what arrives and
//! when. What is left to chance is compared with its figure within five
//! standard deviations of the sample, which a right model misses once in two
//! million; the seeds are fixed, so that a test that passes always passes.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers fail as tests do, and the figures are worth reading (--nocapture)"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use zfl_net::address::MacAddress;
use zfl_net::counters::{DropReason, LinkCounters};
use zfl_net::frame::HEADER_BYTES;
use zfl_net::link::{BurstLoss, LinkOptions, LinkRate, Outage, OutageCycle, Outages, Probability};
use zfl_net::switch::{PortOptions, Switch, SwitchOptions};
use zfl_net::time::NetworkTime;

const GATEWAY: MacAddress = MacAddress([2, 0, 0, 0xff, 0xff, 0xff]);
const DEVICE: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

/// What came of the frames of one direction.
struct Outcome {
    /// Number and time of each frame that arrived, in the order of arrival.
    arrived: Vec<(usize, NetworkTime)>,
    drops: BTreeMap<&'static str, u64>,
    link: LinkCounters,
}

impl Outcome {
    fn drops(&self, reason: DropReason) -> u64 {
        self.drops.get(reason.name()).copied().unwrap_or(0)
    }

    fn numbers(&self) -> Vec<usize> {
        self.arrived.iter().map(|(number, _)| *number).collect()
    }

    /// Whether each of `count` frames arrived.
    fn arrivals(&self, count: usize) -> Vec<bool> {
        let mut arrived = vec![false; count];
        for (number, _) in &self.arrived {
            arrived[*number] = true;
        }
        arrived
    }
}

/// A whole IPv4 packet of UDP with a number in it.
fn frame(way: Way, number: usize, bytes: usize) -> Vec<u8> {
    let (source, destination) = match way {
        Way::Up => (DEVICE, GATEWAY),
        Way::Down => (GATEWAY, DEVICE),
    };
    let mut frame = vec![0; bytes];
    frame[..6].copy_from_slice(&destination.0);
    frame[6..12].copy_from_slice(&source.0);
    frame[12..14].copy_from_slice(&[8, 0]);
    frame[14] = 0x45;
    frame[16..18].copy_from_slice(&((bytes - HEADER_BYTES) as u16).to_be_bytes());
    frame[23] = 17;
    frame[34..38].copy_from_slice(&(number as u32).to_be_bytes());
    frame
}

fn number(frame: &[u8]) -> usize {
    u32::from_be_bytes([frame[34], frame[35], frame[36], frame[37]]) as usize
}

/// One device at a switch, and what has arrived.
struct World {
    switch: Switch,
    now: NetworkTime,
    arrived: Vec<(usize, NetworkTime)>,
}

impl World {
    fn new(link: &LinkOptions, seed: u64) -> Self {
        let mut port = PortOptions::default();
        // Only the link is of interest, not the receiver or the room.
        port.downlink.flight = None;
        port.downlink.queue_bytes_max = usize::MAX / 2;
        port.uplink.queue_bytes_max = usize::MAX / 2;
        port.downlink.link = link.clone();
        port.uplink.link = link.clone();
        let options = SwitchOptions {
            gateway: GATEWAY,
            seed,
            peer_traffic: false,
            port,
        };
        let mut switch = Switch::new(options, 1);
        switch.attach(0, Some(DEVICE)).unwrap();
        Self {
            switch,
            now: NetworkTime::ZERO,
            arrived: Vec::new(),
        }
    }

    fn collect(&mut self) {
        self.switch.poll(0, self.now);
        while let Some((_, frame)) = self.switch.take_for_gateway() {
            self.arrived.push((number(&frame), self.now));
        }
        while let Some(frame) = self.switch.pop(0, self.now) {
            self.arrived.push((number(&frame), self.now));
        }
    }

    fn run_until(&mut self, end: NetworkTime) {
        while let Some(next) = self.switch.poll_at(0).filter(|next| *next <= end) {
            assert!(self.now <= next, "time goes back");
            self.now = next;
            self.collect();
        }
        self.now = end;
    }
}

/// Sends a frame of `bytes` at each of `times`, in order, and waits for all.
fn send(link: &LinkOptions, seed: u64, way: Way, bytes: usize, times: &[NetworkTime]) -> Outcome {
    let mut world = World::new(link, seed);
    for (number, at) in times.iter().enumerate() {
        world.run_until(*at);
        let frame = frame(way, number, bytes);
        match way {
            Way::Up => world.switch.receive(0, frame, *at),
            Way::Down => world.switch.receive_from_gateway(frame, *at),
        }
        world.collect();
    }
    world.run_until(NetworkTime::from_nanos(u64::MAX));
    let counters = world.switch.counters(0).unwrap();
    Outcome {
        arrived: world.arrived,
        drops: counters
            .drops
            .iter()
            .map(|(reason, frames)| (reason.name(), frames))
            .collect(),
        link: match way {
            Way::Up => counters.uplink,
            Way::Down => counters.downlink,
        },
    }
}

fn every(period: Duration, count: usize) -> Vec<NetworkTime> {
    (0..count as u32)
        .map(|number| NetworkTime::ZERO + period * number)
        .collect()
}

fn ideal() -> LinkOptions {
    LinkOptions::wire(LinkRate::UNLIMITED, 0)
}

/// Within five standard deviations of the mean of `samples`.
#[track_caller]
fn assert_mean(what: &str, mean: f64, expected: f64, deviation: f64, samples: f64) {
    let error = 5.0 * deviation / samples.sqrt();
    println!("{what}: {mean:.5}, should be {expected:.5} ± {error:.5}");
    assert!(
        (mean - expected).abs() <= error,
        "{what} is {mean}, should be {expected} ± {error}"
    );
}

/// A share of `samples`, which happens with this probability.
#[track_caller]
fn assert_share(what: &str, count: usize, samples: usize, probability: f64) {
    let deviation = (probability * (1.0 - probability)).sqrt();
    let samples = samples as f64;
    assert_mean(
        what,
        count as f64 / samples,
        probability,
        deviation,
        samples,
    );
}

/// How long each run of frames is for which `is` holds.
fn runs(frames: &[bool], is: bool) -> Vec<usize> {
    frames
        .chunk_by(|a, b| a == b)
        .filter(|run| run[0] == is)
        .map(<[bool]>::len)
        .collect()
}

fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let values: Vec<f64> = values.into_iter().collect();
    values.iter().sum::<f64>() / values.len() as f64
}

const COUNT: usize = 50_000;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn independent_loss_has_its_rate_and_no_bursts() {
    for (way, loss) in [(Way::Up, 0.1), (Way::Down, 0.1), (Way::Down, 0.003)] {
        let mut link = ideal();
        link.loss = Probability::new(loss);
        let outcome = send(&link, 1, way, 100, &every(millis(1), COUNT));
        let lost = outcome.drops(DropReason::Lost) as usize;
        assert_eq!(lost + outcome.arrived.len(), COUNT);
        assert_share("loss", lost, COUNT, loss);
        // A run of losses ends with the probability of no loss.
        let lengths = runs(&outcome.arrivals(COUNT), false);
        let length = mean(lengths.iter().map(|length| *length as f64));
        let deviation = loss.sqrt() / (1.0 - loss);
        let expected = 1.0 / (1.0 - loss);
        assert_mean(
            "losses in a row",
            length,
            expected,
            deviation,
            lengths.len() as f64,
        );
    }
}

#[test]
fn losses_in_bursts_have_their_rate_and_length() {
    for (begin, end) in [(0.01, 0.25), (0.002, 0.1)] {
        let mut link = ideal();
        link.burst_loss = Some(BurstLoss {
            begin: Probability::new(begin),
            end: Probability::new(end),
            loss: Probability::ALWAYS,
        });
        let outcome = send(&link, 2, Way::Down, 100, &every(millis(1), 4 * COUNT));
        let arrivals = outcome.arrivals(4 * COUNT);
        let bursts = runs(&arrivals, false);
        let gaps = runs(&arrivals, true);
        // Both are geometric: mean 1/q and deviation √(1-q)/q.
        for (what, lengths, q) in [("burst", &bursts, end), ("gap", &gaps, begin)] {
            let length = mean(lengths.iter().map(|length| *length as f64));
            let deviation = (1.0f64 - q).sqrt() / q;
            assert_mean(what, length, 1.0 / q, deviation, lengths.len() as f64);
        }
        // The states of a chain resemble their neighbours: its mean varies as
        // that of fewer samples, by (1+r)/(1-r) with r = 1 - begin - end.
        let lost = outcome.drops(DropReason::Lost) as f64 / (4 * COUNT) as f64;
        let expected = begin / (begin + end);
        let resemblance = 1.0 - begin - end;
        let deviation =
            (expected * (1.0 - expected) * (1.0 + resemblance) / (1.0 - resemblance)).sqrt();
        assert_mean("loss", lost, expected, deviation, (4 * COUNT) as f64);
    }
}

#[test]
fn a_burst_may_lose_some_and_the_rest_others() {
    let (begin, end, inside, outside) = (0.02, 0.1, 0.5, 0.01);
    let mut link = ideal();
    link.loss = Probability::new(outside);
    link.burst_loss = Some(BurstLoss {
        begin: Probability::new(begin),
        end: Probability::new(end),
        loss: Probability::new(inside),
    });
    let outcome = send(&link, 3, Way::Up, 100, &every(millis(1), 4 * COUNT));
    let lost = outcome.drops(DropReason::Lost) as f64 / (4 * COUNT) as f64;
    let share = begin / (begin + end);
    let expected = share * inside + (1.0 - share) * outside;
    let resemblance = 1.0 - begin - end;
    let of_states =
        share * (1.0 - share) * (inside - outside) * (inside - outside) * (1.0 + resemblance)
            / (1.0 - resemblance);
    let deviation = (of_states + expected * (1.0 - expected)).sqrt();
    assert_mean("loss", lost, expected, deviation, (4 * COUNT) as f64);
}

#[test]
fn jitter_is_uniform_around_the_delay() {
    let mut link = ideal();
    link.delay = millis(50);
    link.jitter = millis(20);
    let times = every(millis(100), COUNT / 5);
    let outcome = send(&link, 4, Way::Down, 100, &times);
    let delays: Vec<f64> = outcome
        .arrived
        .iter()
        .map(|(number, at)| at.since(times[*number]).as_secs_f64() * 1e3)
        .collect();
    assert_eq!(delays.len(), times.len());
    assert!(delays.iter().all(|delay| (30.0..=70.0).contains(delay)));
    let deviation = 40.0 / 12f64.sqrt();
    assert_mean(
        "delay",
        mean(delays.clone()),
        50.0,
        deviation,
        delays.len() as f64,
    );
    let squares = mean(delays.iter().map(|delay| (delay - 50.0) * (delay - 50.0)));
    let variance = deviation * deviation;
    // The fourth moment of a uniform distribution is 9/5 of its variance's square.
    let of_variance = variance * 0.8f64.sqrt();
    assert_mean(
        "variance",
        squares,
        variance,
        of_variance,
        delays.len() as f64,
    );
    let below = delays.iter().filter(|delay| **delay < 40.0).count();
    assert_share("lowest quarter", below, delays.len(), 0.25);
}

#[test]
fn frames_overtake_each_other_only_where_they_may() {
    // Frames every 10 ms with delays of 30 to 70 ms.
    let mut link = ideal();
    link.delay = millis(50);
    link.jitter = millis(20);
    let times = every(millis(10), COUNT / 5);
    let in_order = send(&link, 5, Way::Up, 100, &times);
    assert!(in_order.numbers().is_sorted());
    assert_eq!(in_order.arrived.len(), times.len());

    link.reorder = true;
    let any_order = send(&link, 5, Way::Up, 100, &times);
    assert_eq!(any_order.arrived.len(), times.len());
    let mut at = vec![NetworkTime::ZERO; times.len()];
    for (number, time) in &any_order.arrived {
        at[*number] = *time;
    }
    let overtaken = at.windows(2).filter(|pair| pair[1] < pair[0]).count();
    // Two uniform delays from 40 ms differ by more than 10 with (30/40)² / 2.
    // Neighbouring pairs share a frame: their count varies less than if not.
    assert_share("overtaken", overtaken, times.len() - 1, 0.75 * 0.75 / 2.0);
    // Without the wait for others, the mean is that of the model.
    let delays = at
        .iter()
        .zip(&times)
        .map(|(at, sent)| at.since(*sent).as_secs_f64() * 1e3);
    assert_mean(
        "delay",
        mean(delays),
        50.0,
        40.0 / 12f64.sqrt(),
        times.len() as f64,
    );
}

#[test]
fn duplicates_come_as_often_as_they_should() {
    let mut link = ideal();
    link.duplicate = Probability::new(0.05);
    link.loss = Probability::new(0.2);
    let outcome = send(&link, 6, Way::Down, 100, &every(millis(1), COUNT));
    let mut copies = vec![0; COUNT];
    for number in outcome.numbers() {
        copies[number] += 1;
    }
    let arrived = copies.iter().filter(|count| **count > 0).count();
    let twice = copies.iter().filter(|count| **count == 2).count();
    assert_eq!(copies.iter().max(), Some(&2));
    assert_eq!(twice as u64, outcome.link.duplicated);
    // Of those that arrive: what is lost has no copy.
    assert_share("duplicates", twice, arrived, 0.05);
}

#[test]
fn corruption_changes_one_bit_as_often_as_it_should() {
    let mut link = ideal();
    link.corrupt = Probability::new(0.1);
    let mut world = World::new(&link, 7);
    let sent = frame(Way::Down, 5, 1000);
    let mut places = Vec::new();
    for millis in 0..(COUNT / 5) as u64 {
        let now = NetworkTime::from_millis(millis);
        world.switch.receive_from_gateway(sent.clone(), now);
        let frame = world.switch.pop(0, now).unwrap();
        let changed: Vec<usize> = (0..sent.len())
            .filter(|at| frame[*at] != sent[*at])
            .collect();
        if let [at] = changed[..] {
            assert_eq!((frame[at] ^ sent[at]).count_ones(), 1);
            assert!(at >= HEADER_BYTES, "the Ethernet header is changed");
            places.push(at as f64);
        } else {
            assert_eq!(changed, []);
        }
    }
    let corrupted = world.switch.counters(0).unwrap().downlink.corrupted;
    assert_eq!(corrupted, places.len() as u64);
    assert_share("corruption", places.len(), COUNT / 5, 0.1);
    let deviation = 986.0 / 12f64.sqrt();
    let count = places.len() as f64;
    assert_mean("place", mean(places), 14.0 + 985.0 / 2.0, deviation, count);
}

#[test]
fn nothing_passes_during_an_outage() {
    let mut link = ideal();
    link.outages = Outages {
        windows: vec![
            Outage {
                from: millis(2_000),
                lasts: millis(500),
            },
            Outage {
                from: millis(4_000),
                lasts: millis(1_000),
            },
        ],
        cycle: None,
    };
    for way in [Way::Up, Way::Down] {
        let outcome = send(&link, 8, way, 100, &every(millis(1), 6_000));
        let expected: Vec<bool> = (0..6_000)
            .map(|at| !(2_000..2_500).contains(&at) && !(4_000..5_000).contains(&at))
            .collect();
        assert_eq!(outcome.arrivals(6_000), expected);
        assert_eq!(outcome.drops(DropReason::Outage), 1_500);
    }
}

#[test]
fn a_cycle_of_outages_holds_for_both_directions_and_differs_between_seeds() {
    let mut link = ideal();
    link.outages.cycle = Some(OutageCycle {
        every: Duration::from_secs(10),
        lasts: Duration::from_secs(1),
    });
    let down = |seed, way| {
        let outcome = send(&link, seed, way, 100, &every(millis(10), 10_000));
        assert_eq!(outcome.drops(DropReason::Outage), 1_000);
        outcome.arrivals(10_000)
    };
    let arrivals = down(9, Way::Up);
    assert_eq!(arrivals, down(9, Way::Down));
    assert_ne!(arrivals, down(10, Way::Up));
    let lengths = runs(&arrivals, false);
    let whole = &lengths[1..lengths.len() - 1];
    assert!(whole.iter().all(|length| *length == 100), "{lengths:?}");
}

#[test]
fn a_frame_that_is_being_sent_when_the_link_goes_down_is_lost() {
    // 100 ms a frame.
    let mut link = LinkOptions::wire(LinkRate::bits_per_second(8 * 1000 * 10), 0);
    link.overhead_bytes = 0;
    link.outages.windows = vec![Outage {
        from: millis(150),
        lasts: millis(100),
    }];
    let outcome = send(&link, 1, Way::Down, 1000, &[NetworkTime::ZERO; 5]);
    // The second and the third; the others wait for their turn.
    assert_eq!(outcome.numbers(), [0, 3, 4]);
    let last = outcome.arrived.last().unwrap().1;
    assert_eq!(last, NetworkTime::from_millis(500));
    assert_eq!(outcome.link.airtime, millis(500));
}

#[test]
fn a_packet_larger_than_the_mtu_is_dropped() {
    let mut link = ideal();
    link.mtu_bytes = 1280;
    for (bytes, passes) in [(HEADER_BYTES + 1280, true), (HEADER_BYTES + 1281, false)] {
        for way in [Way::Up, Way::Down] {
            let outcome = send(&link, 1, way, bytes, &[NetworkTime::ZERO]);
            assert_eq!(outcome.arrived.len(), usize::from(passes));
            assert_eq!(outcome.drops(DropReason::TooLarge), u64::from(!passes));
        }
    }
}

/// A link on which everything happens.
fn eventful() -> LinkOptions {
    let mut link = LinkOptions::wire(LinkRate::megabits_per_second(1), 2_000);
    link.delay = millis(30);
    link.jitter = millis(10);
    link.reorder = true;
    link.loss = Probability::new(0.05);
    link.burst_loss = Some(BurstLoss {
        begin: Probability::new(0.02),
        end: Probability::new(0.3),
        loss: Probability::new(0.9),
    });
    link.duplicate = Probability::new(0.05);
    link.corrupt = Probability::new(0.05);
    link
}

#[test]
fn a_seed_decides_all_that_is_left_to_chance() {
    let times = every(millis(3), 2_000);
    let run = |seed, way| send(&eventful(), seed, way, 300, &times).arrived;
    assert_eq!(run(1, Way::Up), run(1, Way::Up));
    assert_ne!(run(1, Way::Up), run(2, Way::Up));
    assert_ne!(run(1, Way::Up), run(1, Way::Down));
}

/// The fate of the n-th frame depends on nothing else that a link does: what
/// is lost is lost with and without jitter, duplicates and a rate. (Corruption
/// would change the numbers that frames are known by; the property below has
/// it.)
#[test]
fn what_is_lost_does_not_depend_on_what_else_happens() {
    let times = every(millis(3), 2_000);
    let arrivals = |link: &LinkOptions| send(link, 1, Way::Up, 300, &times).arrivals(2_000);
    let mut all = eventful();
    all.corrupt = Probability::NEVER;
    let all = arrivals(&all);
    let mut link = ideal();
    link.loss = eventful().loss;
    link.burst_loss = eventful().burst_loss;
    assert_eq!(arrivals(&link), all);
}

#[test]
fn a_device_that_is_attached_again_meets_another_fate() {
    let mut link = ideal();
    link.loss = Probability::new(0.5);
    let mut world = World::new(&link, 1);
    let mut received = Vec::new();
    for attachment in 0..3 {
        let before = world.arrived.len();
        for number in 0..200 {
            let frame = frame(Way::Up, number, 100);
            world.switch.receive(0, frame, NetworkTime::ZERO);
            world.collect();
        }
        received.push(world.arrived[before..].to_vec());
        world.switch.attach(0, Some(DEVICE)).unwrap();
        assert!(!received[..attachment].contains(&received[attachment]));
    }
}

fn probability() -> impl Strategy<Value = Probability> {
    prop_oneof![
        2 => Just(Probability::NEVER),
        1 => Just(Probability::ALWAYS),
        4 => (0.0..1.0).prop_map(Probability::new),
    ]
}

prop_compose! {
    fn link()(
        rate in prop_oneof![Just(LinkRate::UNLIMITED), (1_000u64..100_000_000).prop_map(LinkRate::bits_per_second)],
        burst_bytes in prop_oneof![Just(0usize), Just(8_192)],
        overhead_bytes in 0usize..100,
        delay in 0u64..300,
        jitter in 0u64..300,
        reorder: bool,
        loss in probability(),
        bursts in proptest::option::of((probability(), probability(), probability())),
        duplicate in probability(),
        corrupt in probability(),
        outages in proptest::collection::vec((0u64..500, 0u64..500), 0..3),
        cycle in proptest::option::of((1u64..500, 0u64..100)),
    ) -> LinkOptions {
        LinkOptions {
            rate,
            burst_bytes,
            overhead_bytes,
            delay: millis(delay),
            jitter: millis(jitter.min(delay)),
            reorder,
            loss,
            burst_loss: bursts.map(|(begin, end, loss)| BurstLoss { begin, end, loss }),
            duplicate,
            corrupt,
            mtu_bytes: 1500,
            outages: Outages {
                windows: outages
                    .iter()
                    .map(|(from, lasts)| Outage { from: millis(*from), lasts: millis(*lasts) })
                    .collect(),
                cycle: cycle.map(|(every, lasts)| OutageCycle {
                    every: millis(every),
                    lasts: millis(lasts),
                }),
            },
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever a link does, each frame is accounted for, comes no earlier
    /// than the rate and the least delay allow, and in order unless it may not.
    #[test]
    fn every_frame_is_accounted_for(
        link in link(),
        seed: u64,
        is_up: bool,
        gaps in proptest::collection::vec(0u64..20_000, 1..100),
    ) {
        let way = if is_up { Way::Up } else { Way::Down };
        let mut now = NetworkTime::ZERO;
        let times: Vec<NetworkTime> = gaps
            .iter()
            .map(|gap| {
                now = now + Duration::from_micros(*gap);
                now
            })
            .collect();
        // Any byte may be changed; the number too.
        let mut clean = link.clone();
        clean.corrupt = Probability::NEVER;
        let outcome = send(&clean, seed, way, 200, &times);
        let dropped: u64 = outcome.drops.values().sum();
        let arrived = outcome.arrived.len() as u64;
        prop_assert_eq!(times.len() as u64 + outcome.link.duplicated, arrived + dropped);
        for (number, at) in &outcome.arrived {
            prop_assert!(times[*number] + (link.delay - link.jitter) <= *at);
        }
        if !link.reorder {
            prop_assert!(outcome.numbers().is_sorted());
        }
        let latest = outcome.arrived.iter().map(|(_, at)| *at).max();
        prop_assert!(outcome.link.busy <= latest.unwrap_or(now).max(now + outcome.link.airtime).as_duration());
        let corrupted = send(&link, seed, way, 200, &times);
        prop_assert_eq!(corrupted.arrived.len(), outcome.arrived.len());
        prop_assert_eq!(corrupted.link.duplicated, outcome.link.duplicated);
    }
}
