//! `zfl dashboard`, and the dashboard of a run.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use zfl_dashboard::{Dashboard, DashboardError};

use super::run::interruption;
use super::{Done, Failure, runtime};
use crate::arguments::DashboardArguments;

/// Where a run's dashboard listens where nobody says.
const PORT: u16 = 8090;

/// `zfl dashboard`
pub(crate) fn dashboard(arguments: &DashboardArguments) -> Done {
    let folder = &arguments.folder;
    if !folder.is_dir() {
        return Err(Failure::Usage(format!(
            "there is no folder {}; name the folder of your runs: zfl dashboard RUNS_DIR",
            folder.display()
        )));
    }
    runtime()?.block_on(async {
        let dashboard = Dashboard::bind(arguments.listen, folder)
            .await
            .map_err(|error| {
                let mut failure = Failure::run(&error);
                failure.add("name another address with --listen; port 0 takes a free one");
                failure
            })?;
        say!("{}", shown_at(dashboard.address()));
        say!("runs in {}; Ctrl-C ends", folder.display());
        dashboard.serve(interruption()).await;
        Ok(())
    })
}

/// The dashboard of a run, as long as that goes on.
pub(super) struct RunDashboard {
    end: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl RunDashboard {
    /// Shows the run in the folder, which need not be there yet.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub(super) async fn start(
        address: Option<SocketAddr>,
        folder: &Path,
    ) -> Result<Self, DashboardError> {
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let dashboard = match address {
            Some(address) => Dashboard::bind(address, folder).await?,
            // Another run may have it.
            None => match Dashboard::bind(loopback(PORT), folder).await {
                Ok(dashboard) => dashboard,
                Err(_) => Dashboard::bind(loopback(0), folder).await?,
            },
        };
        // Where --json or --quiet do not reach.
        complain!("{}", shown_at(dashboard.address()));
        let (end, ended) = oneshot::channel();
        let served = tokio::spawn(dashboard.serve(async move {
            // Also when whoever started it is gone.
            let _ = ended.await;
        }));
        Ok(Self { end, served })
    }

    /// Tells everybody who watches the end.
    pub(super) async fn end(self) {
        let Self { end, served } = self;
        drop(end);
        let _ = served.await;
    }
}

fn shown_at(address: SocketAddr) -> String {
    format!("dashboard at http://{address}/")
}
