//! The tables of a run's folder as docs/records.md describes them.

use crate::table_row;

table_row! {
    /// A row of `rounds.csv`: a round.
    pub struct Round in "rounds.csv" {
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
        clients_selected: u32,
        /// Those whose updates are in the mean.
        clients_ok: u32,
        /// Faults on purpose that took effect.
        faults: u32,
        /// `completed`, or `failed`: without a quorum.
        outcome: String,
        /// Updates of earlier rounds in the mean.
        late_updates: u32,
        /// Bodies of start messages.
        bytes_down: u64,
        /// Bodies of updates.
        bytes_up: u64,
        /// From the first start message to the evaluation, in host time.
        host_seconds: f64,
        /// Of all emulators together, in host time.
        qemu_cpu_seconds: Option<f64>,
        /// SHA-256 of the global model, in hexadecimal.
        model_sha256: String,
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

table_row! {
    /// A row of `clients.csv`: a client's part in a round.
    pub struct Client in "clients.csv" {
        /// The round.
        round: u32,
        /// The client's number.
        client: u32,
        /// Its board.
        board: Option<String>,
        /// `ok`, or why its update is not in the mean.
        outcome: String,
        /// Trained on.
        samples: u32,
        /// Mean over its share in the last epoch.
        train_loss: Option<f64>,
        /// Share of its samples that were classified rightly in the last epoch.
        train_accuracy: Option<f64>,
        /// From its start message to its update, in host time.
        host_seconds: f64,
        /// Of training, by the device's own clock.
        device_clock_seconds: f64,
        /// Counted instructions of training.
        instructions_training: Option<u64>,
        /// Counted instructions of network and system.
        instructions_other: Option<u64>,
        /// The microcontroller that it stands for.
        mcu: Option<String>,
        /// The round on that part, in device time.
        device_seconds: Option<f64>,
        /// The same in millijoules.
        energy_mj: Option<f64>,
        /// What the two rest on.
        device_basis: Option<String>,
        /// Body of its start message.
        bytes_down: u64,
        /// Body of its update.
        bytes_up: u64,
        /// High-water mark of its stack; 0 where nobody measures.
        stack_peak_bytes: u64,
        /// High-water mark of its arena.
        arena_peak_bytes: u64,
        /// Of its firmware's image.
        flash_bytes: Option<u64>,
        /// Kinds of the faults on purpose that took effect, joined by `+`.
        faults: Option<String>,
        /// Why, where the outcome is not ok.
        detail: Option<String>,
        /// As docs/records.md has this and those that follow.
        nic_bytes_in: Option<u64>,
        /// See there.
        nic_bytes_out: Option<u64>,
        /// See there.
        nic_frames_in: Option<u64>,
        /// See there.
        nic_frames_out: Option<u64>,
        /// See there.
        nic_segments_in: Option<u64>,
        /// See there.
        nic_segments_out: Option<u64>,
        /// See there.
        switch_bytes_in: Option<u64>,
        /// See there.
        switch_bytes_out: Option<u64>,
        /// See there.
        switch_frames_in: Option<u64>,
        /// See there.
        switch_frames_out: Option<u64>,
        /// See there.
        switch_segments_out: Option<u64>,
        /// See there.
        data_segments_down: Option<u64>,
        /// See there.
        data_segments_up: Option<u64>,
        /// See there.
        retransmissions_down: Option<u64>,
        /// See there.
        retransmissions_up: Option<u64>,
        /// See there.
        duplicate_acks_down: Option<u64>,
        /// See there.
        duplicate_acks_up: Option<u64>,
        /// See there.
        goodput_bytes_down: Option<u64>,
        /// See there.
        goodput_bytes_up: Option<u64>,
        /// See there.
        resets_down: Option<u64>,
        /// See there.
        resets_up: Option<u64>,
        /// See there.
        host_rtt_down_ms_mean: Option<f64>,
        /// See there.
        host_rtt_down_ms_min: Option<f64>,
        /// See there.
        host_rtt_down_ms_max: Option<f64>,
        /// See there.
        host_rtt_down_count: Option<u64>,
        /// See there.
        host_rtt_up_ms_mean: Option<f64>,
        /// See there.
        host_rtt_up_ms_min: Option<f64>,
        /// See there.
        host_rtt_up_ms_max: Option<f64>,
        /// See there.
        host_rtt_up_count: Option<u64>,
        /// See there.
        drops_link_down: Option<u64>,
        /// See there.
        drops_link_up: Option<u64>,
        /// See there.
        drops_queue_down: Option<u64>,
        /// See there.
        drops_queue_up: Option<u64>,
        /// See there.
        drops_switch: Option<u64>,
        /// See there.
        link_seconds_down: Option<f64>,
        /// See there.
        link_seconds_up: Option<f64>,
        /// See there.
        link_airtime_seconds_down: Option<f64>,
        /// See there.
        link_airtime_seconds_up: Option<f64>,
        /// See there.
        device_bytes_in: Option<u64>,
        /// See there.
        device_bytes_out: Option<u64>,
        /// See there.
        device_frames_in: Option<u64>,
        /// See there.
        device_frames_out: Option<u64>,
        /// See there.
        device_segments_in: Option<u64>,
        /// See there.
        device_segments_out: Option<u64>,
        /// See there.
        device_retransmissions: Option<u64>,
        /// See there.
        observed_bytes_in: Option<u64>,
        /// See there.
        observed_bytes_out: Option<u64>,
        /// See there.
        observed_frames_in: Option<u64>,
        /// See there.
        observed_frames_out: Option<u64>,
        /// See there.
        observed_segments_in: Option<u64>,
        /// See there.
        observed_segments_out: Option<u64>,
        /// See there.
        observed_retransmissions: Option<u64>,
        /// See there.
        drops_nic: Option<u64>,
    }
}

table_row! {
    /// A row of `devices.csv`: a device until it was ready. Its columns of traffic
    /// are those of [`Client`]; here are those that somebody has needed.
    pub struct Device in "devices.csv" {
        /// The last round that was over.
        after_round: u32,
        /// Its number.
        device: u32,
        /// Its client's.
        client: u32,
        /// Its board.
        board: Option<String>,
        /// When its firmware began, in host time since the run did.
        boot_host_seconds: Option<f64>,
        /// When it had its data, in host time since the run began.
        ready_host_seconds: Option<f64>,
        /// Bytes of frames that came to its NIC.
        nic_bytes_in: Option<u64>,
        /// Bytes of frames that left it.
        nic_bytes_out: Option<u64>,
        /// Segments sent again towards it.
        retransmissions_down: Option<u64>,
        /// Segments that it has sent again.
        retransmissions_up: Option<u64>,
    }
}
