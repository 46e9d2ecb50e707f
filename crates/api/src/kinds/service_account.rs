//! ServiceAccount: who a pod is.

use super::duration::age;
use super::typed::Definition;
use super::without_effect::Patterns;
use crate::kind::{Column, Descriptor, Scope, Verb};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ServiceAccount;
use serde_json::Value;

pub(super) struct ServiceAccounts;

static DESCRIPTOR: Descriptor = Descriptor {
    group: "",
    version: "v1",
    kind: "ServiceAccount",
    plural: "serviceaccounts",
    singular: "serviceaccount",
    short_names: &["sa"],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: Verb::ALL,
    subresources: &[],
    columns: &[Column::NAME, Column::AGE],
};

impl Definition for ServiceAccounts {
    type Object = ServiceAccount;

    const DESCRIPTOR: &'static Descriptor = &DESCRIPTOR;
    const WITHOUT_EFFECT: &'static [Patterns] = &[("", &["imagePullSecrets"])];

    fn cells(object: &ServiceAccount, now: Timestamp) -> Vec<Value> {
        vec![
            object.metadata.name.clone().into(),
            age(&object.metadata, now),
        ]
    }
}
