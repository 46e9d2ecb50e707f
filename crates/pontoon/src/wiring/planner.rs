//! Joins the API server's `plan` with the loop that knows what would come of it.

use pontoon_apiserver::planner::{Fate, Forecast, Planner, PodForecast};
use pontoon_controllers::{Controller, catalog};
use pontoon_reconcile::forecast::{self, Foresight};
use pontoon_reconcile::limits::FORECAST_TIME;
use pontoon_state::{Transaction, View};
use pontoon_world::World;

/// Foretells with the controllers that the loop runs.
pub(super) struct Forecaster {
    controllers: Vec<Box<dyn Controller>>,
    world: World,
}

impl Forecaster {
    pub(super) fn new(world: World) -> Self {
        Self {
            controllers: catalog::all(),
            world,
        }
    }
}

impl Planner for Forecaster {
    fn forecast(&self, view: &View, transaction: Transaction) -> Forecast {
        let until = self.world.clock().monotonic() + FORECAST_TIME;
        let foreseen = Foresight {
            view,
            controllers: &self.controllers,
            now: self.world.now(),
            seed: self.world.entropy().u64(),
            in_time: &|| self.world.clock().monotonic() < until,
        }
        .forecast(transaction);
        Forecast {
            pods: foreseen.pods.into_iter().map(pod).collect(),
            warnings: foreseen.warnings,
            complete: foreseen.complete,
        }
    }
}

fn pod(pod: forecast::PodForecast) -> PodForecast {
    PodForecast {
        namespace: pod.namespace,
        name: pod.name,
        fate: match pod.fate {
            forecast::Fate::Made(place) => Fate::Made(place),
            forecast::Fate::Placed(node) => Fate::Placed(node),
            forecast::Fate::Removed(node) => Fate::Removed(node),
        },
    }
}
