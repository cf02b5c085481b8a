//! The tables of a run's folder as docs/records.md describes them.
//!
//! One list of columns for whoever writes a table and whoever reads it. A table is
//! written in parts that different hands know, one after the other; it is read as one
//! row.

use serde::Serialize;

use crate::table_row;

/// Declares a table: the row that is read, and the parts of it that are written. A
/// column is followed by what its cells are read as, and what they are written from
/// where that is another type.
macro_rules! table {
    (
        $(#[$attribute:meta])*
        $name:ident in $file:literal
        $($(#[$of_part:meta])* $part:ident $(<$lifetime:lifetime>)? {
            $($(#[$of_column:meta])* $column:ident: $read:ty $(as $written:ty)?,)*
        })*
    ) => {
        table_row! {
            $(#[$attribute])*
            pub struct $name in $file {
                $($(
                    #[doc = concat!("`", stringify!($column), "` of docs/records.md.")]
                    $(#[$of_column])*
                    $column: $read,
                )*)*
            }
        }

        $(
            $(#[$of_part])*
            #[derive(Serialize)]
            pub(crate) struct $part $(<$lifetime>)? {
                $($(#[$of_column])* pub(crate) $column: written!($read $(, $written)?),)*
            }
        )*
    };
}

/// The last of the types.
macro_rules! written {
    ($read:ty) => {
        $read
    };
    ($read:ty, $written:ty) => {
        $written
    };
}

table! {
    /// A row of `rounds.csv`: a round.
    Round in "rounds.csv"
    /// What the coordinator knows of it.
    RoundRow<'a> {
        /// From 1.
        round: u32,
        /// Share of the test set that the new global model classifies rightly;
        /// none where it has no classes.
        accuracy: Option<f64>,
        /// Its mean loss there.
        loss: f64,
        /// Where values are learnt: the root of its mean squared error there, in
        /// their unit.
        rmse: Option<f64>,
        /// And the coefficient of determination.
        r_squared: Option<f64>,
        /// Clients that were asked.
        clients_selected: u32 as usize,
        /// Those whose updates are in the mean.
        clients_ok: u32 as usize,
        /// Faults on purpose that took effect.
        faults: u32 as usize,
        /// `completed`, or `failed`: without a quorum. Then accuracy, loss, errors and
        /// hash are those of the model that stayed.
        outcome: String as &'a str,
        /// Updates of earlier rounds in the mean.
        late_updates: u32 as usize,
        /// Bodies of start messages.
        bytes_down: u64,
        /// Bodies of updates.
        bytes_up: u64,
        /// From the first start message to the evaluation, in host time.
        host_seconds: f64,
        /// Of all emulators together, in host time; none without a fleet.
        qemu_cpu_seconds: Option<f64>,
        /// SHA-256 of the global model, in hexadecimal.
        model_sha256: String as &'a str,
    }
    /// What passed between its network and all devices.
    #[derive(Clone, Copy, Debug, Default)]
    FleetRow {
        /// Bytes of frames that came to the devices' NICs.
        nic_bytes_in: Option<u64>,
        /// Bytes of frames that left them.
        nic_bytes_out: Option<u64>,
        /// Frames that came to them.
        nic_frames_in: Option<u64>,
        /// Frames that left them.
        nic_frames_out: Option<u64>,
        /// Segments towards the devices.
        segments_down: Option<u64>,
        /// Segments from the devices.
        segments_up: Option<u64>,
        /// Those sent again, towards the devices.
        retransmissions_down: Option<u64>,
        /// Those sent again, from the devices.
        retransmissions_up: Option<u64>,
        /// Frames that links, queues and switch have dropped.
        drops: Option<u64>,
    }
}

table! {
    /// A row of `clients.csv`: a client's part in a round.
    Client in "clients.csv"
    /// The part itself, and what it cost.
    ClientRow<'a> {
        /// The round.
        round: u32,
        /// The client's number.
        client: u32,
        /// Its board.
        board: Option<String> as &'a str,
        /// `ok`, or why its update is not in the mean.
        outcome: String as &'a str,
        /// Trained on.
        samples: u32,
        /// Mean over its share in the last epoch.
        train_loss: Option<f64> as f32,
        /// Share of its samples that were classified rightly in the last epoch.
        train_accuracy: Option<f64> as Option<f32>,
        /// From its start message to its update, in host time.
        host_seconds: f64,
        /// Of training, by the device's own clock, which without instruction
        /// counting follows the host's.
        device_clock_seconds: f64,
        /// Counted instructions of training.
        instructions_training: Option<u64>,
        /// Counted instructions of network and system.
        instructions_other: Option<u64>,
        /// The microcontroller that it stands for.
        mcu: Option<String> as Option<&'a str>,
        /// The round on that part, in device time, by its profile.
        device_seconds: Option<f64>,
        /// The same in millijoules.
        energy_mj: Option<f64>,
        /// What the two rest on.
        device_basis: Option<String> as Option<&'static str>,
        /// Body of its start message.
        bytes_down: u64,
        /// Body of its update.
        bytes_up: u64,
        /// High-water mark of its stack; 0 where nobody measures.
        stack_peak_bytes: u64 as u32,
        /// High-water mark of its arena.
        arena_peak_bytes: u64 as u32,
        /// Of its firmware's image.
        flash_bytes: Option<u64>,
        /// Kinds of the faults on purpose that took effect, joined by `+`.
        faults: Option<String> as String,
        /// Why, where the outcome is not ok.
        detail: Option<String> as &'a str,
    }
    /// What passed between the network and a device in a time: a round, or until it
    /// was ready.
    #[derive(Clone, Copy, Debug, Default)]
    TrafficRow {
        nic_bytes_in: Option<u64> as u64,
        nic_bytes_out: Option<u64> as u64,
        nic_frames_in: Option<u64> as u64,
        nic_frames_out: Option<u64> as u64,
        nic_segments_in: Option<u64>,
        nic_segments_out: Option<u64>,
        switch_bytes_in: Option<u64>,
        switch_bytes_out: Option<u64>,
        switch_frames_in: Option<u64>,
        switch_frames_out: Option<u64>,
        switch_segments_out: Option<u64>,
        data_segments_down: Option<u64>,
        data_segments_up: Option<u64>,
        retransmissions_down: Option<u64>,
        retransmissions_up: Option<u64>,
        duplicate_acks_down: Option<u64>,
        duplicate_acks_up: Option<u64>,
        goodput_bytes_down: Option<u64>,
        goodput_bytes_up: Option<u64>,
        resets_down: Option<u64>,
        resets_up: Option<u64>,
        host_rtt_down_ms_mean: Option<f64>,
        host_rtt_down_ms_min: Option<f64>,
        host_rtt_down_ms_max: Option<f64>,
        host_rtt_down_count: Option<u64>,
        host_rtt_up_ms_mean: Option<f64>,
        host_rtt_up_ms_min: Option<f64>,
        host_rtt_up_ms_max: Option<f64>,
        host_rtt_up_count: Option<u64>,
        drops_link_down: Option<u64>,
        drops_link_up: Option<u64>,
        drops_queue_down: Option<u64>,
        drops_queue_up: Option<u64>,
        drops_switch: Option<u64>,
        link_seconds_down: Option<f64>,
        link_seconds_up: Option<f64>,
        link_airtime_seconds_down: Option<f64>,
        link_airtime_seconds_up: Option<f64>,
    }
    /// What a device says of itself since its last report (the first time: since it
    /// booted), and what the switch saw in that time.
    #[derive(Clone, Copy, Debug, Default)]
    ReportRow {
        device_bytes_in: Option<u64>,
        device_bytes_out: Option<u64>,
        device_frames_in: Option<u64>,
        device_frames_out: Option<u64>,
        device_segments_in: Option<u64>,
        device_segments_out: Option<u64>,
        device_retransmissions: Option<u64>,
        observed_bytes_in: Option<u64>,
        observed_bytes_out: Option<u64>,
        observed_frames_in: Option<u64>,
        observed_frames_out: Option<u64>,
        observed_segments_in: Option<u64>,
        observed_segments_out: Option<u64>,
        observed_retransmissions: Option<u64>,
        drops_nic: Option<u64>,
    }
}

/// What a row of `devices.csv` begins with; its [`TrafficRow`] follows.
#[derive(Serialize)]
pub(crate) struct DeviceRow<'a> {
    /// The round that was over when the fleet was started: 0, or that after which
    /// the run was resumed.
    pub(crate) after_round: u32,
    pub(crate) device: u32,
    pub(crate) client: u32,
    pub(crate) board: &'a str,
    /// When its firmware said that it runs, in host time since the run began.
    pub(crate) boot_host_seconds: Option<f64>,
    /// When it had its data; empty where it never had.
    pub(crate) ready_host_seconds: Option<f64>,
}
