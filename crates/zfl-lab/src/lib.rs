//! Experiment file to run: wires fleet, network, coordinator and data.
