//! Which ReplicaSet is which version, and which old ones are kept.

use super::{DESIRED, EventType, MAX, REVISION, Rollout, Set, TEMPLATE_HASH};
use crate::controller::{Intent, Plan, PlanError};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use pontoon_api::Part;
use pontoon_api::deletion::Options;
use pontoon_state::Key;
use serde_json::{Value, json};

/// The alphabet of generated names (Kubernetes' `rand.SafeEncodeString`): no vowels, no look-alikes.
const SAFE: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// The annotations of a Deployment that its ReplicaSets do not take over.
const NOT_COPIED: [&str; 5] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    "deployment.kubernetes.io/revision-history",
    DESIRED,
    MAX,
];

/// The sets of a Deployment by what they are to it.
pub(crate) struct Revisions<'a> {
    /// The one with the present template, if it exists.
    pub(crate) new: Option<&'a Set>,
    /// All others, oldest first.
    pub(crate) old: Vec<&'a Set>,
}

impl<'a> Revisions<'a> {
    pub(crate) fn of(rollout: &'a Rollout<'_>) -> Self {
        let template = without_hash(&rollout.spec.template);
        let is_new = |set: &&Set| {
            set.set
                .spec
                .as_ref()
                .and_then(|spec| spec.template.as_ref())
                .is_some_and(|found| without_hash(found) == template)
        };
        let new = rollout.sets.iter().find(is_new);
        let old = rollout
            .sets
            .iter()
            .filter(|set| new.is_none_or(|new| new.object.key != set.object.key))
            .collect();
        Self { new, old }
    }

    /// The new set and the old ones.
    pub(crate) fn all(&self) -> impl Iterator<Item = &'a Set> + '_ {
        self.old.iter().copied().chain(self.new)
    }
}

fn without_hash(template: &PodTemplateSpec) -> PodTemplateSpec {
    let mut template = template.clone();
    if let Some(labels) = template
        .metadata
        .as_mut()
        .and_then(|metadata| metadata.labels.as_mut())
    {
        labels.remove(TEMPLATE_HASH);
    }
    template
}

/// FNV-1a, 32 bits: what Kubernetes hashes templates with (Fowler, Noll, Vo; offset and prime of the 32-bit variant).
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

/// The label and name part that stands for a template; `collisions` makes another one of the same template.
fn template_hash(template: &PodTemplateSpec, collisions: Option<i32>) -> Result<String, PlanError> {
    let mut bytes = serde_json::to_vec(&without_hash(template))?;
    if let Some(collisions) = collisions {
        bytes.extend_from_slice(&collisions.to_le_bytes());
    }
    let digits = fnv1a(&bytes).to_string();
    Ok(digits
        .bytes()
        .map(|digit| char::from(SAFE[usize::from(digit) % SAFE.len()]))
        .collect())
}

impl Rollout<'_> {
    /// The revision a new set gets, or the new set should have: one above the old ones.
    fn next_revision(&self, revisions: &Revisions<'_>) -> i64 {
        revisions
            .old
            .iter()
            .map(|set| set.revision())
            .max()
            .unwrap_or(0)
            + 1
    }

    /// Makes the new set if it does not exist, or gives it the revision and annotations it should have. True when the
    /// rollout can go on with it.
    pub(crate) fn ensure_new(
        &self,
        plan: &mut Plan,
        revisions: &Revisions<'_>,
        replicas: i32,
    ) -> Result<bool, PlanError> {
        match revisions.new {
            Some(set) => self.keep_new(plan, set, revisions),
            None => {
                self.create_new(plan, revisions, replicas)?;
                Ok(false)
            }
        }
    }

    fn keep_new(
        &self,
        plan: &mut Plan,
        set: &Set,
        revisions: &Revisions<'_>,
    ) -> Result<bool, PlanError> {
        let wanted = self.next_revision(revisions).max(set.revision());
        let mut value = set.object.value()?;
        let before = value.clone();
        if set.revision() < wanted {
            value["metadata"]["annotations"][REVISION] = wanted.to_string().into();
        }
        self.copy_annotations(&mut value);
        if let Some(seconds) = self.spec.min_ready_seconds {
            value["spec"]["minReadySeconds"] = seconds.into();
        }
        if value == before {
            return Ok(true);
        }
        plan.writes.push(Intent::Update {
            base: set.object.clone(),
            object: value,
            part: Part::Main,
        });
        Ok(false)
    }

    fn copy_annotations(&self, set: &mut Value) {
        for (name, value) in self.deployment.metadata.annotations.iter().flatten() {
            if !NOT_COPIED.contains(&name.as_str()) {
                set["metadata"]["annotations"][name] = value.as_str().into();
            }
        }
    }

    fn create_new(
        &self,
        plan: &mut Plan,
        revisions: &Revisions<'_>,
        replicas: i32,
    ) -> Result<(), PlanError> {
        let collisions = self
            .deployment
            .status
            .as_ref()
            .and_then(|status| status.collision_count);
        let hash = template_hash(&self.spec.template, collisions)?;
        let name = format!("{}-{hash}", self.owner.object.key.name);
        if self
            .view
            .get(&Key::new(
                crate::replica_set::RESOURCE,
                &self.owner.object.key.namespace,
                &name,
            ))
            .is_some()
        {
            return self.count_collision(plan, collisions);
        }
        let with_hash = |value: &mut Value| value[TEMPLATE_HASH] = hash.as_str().into();
        let mut template = serde_json::to_value(&self.spec.template)?;
        with_hash(&mut template["metadata"]["labels"]);
        let mut selector = serde_json::to_value(&self.spec.selector)?;
        with_hash(&mut selector["matchLabels"]);
        let mut set = json!({
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": name,
                "namespace": &*self.owner.object.key.namespace,
                "labels": template["metadata"]["labels"],
                "annotations": {REVISION: self.next_revision(revisions).to_string()},
                "ownerReferences": [self.owner.reference()],
            },
            "spec": {
                "replicas": replicas,
                "minReadySeconds": self.spec.min_ready_seconds.unwrap_or(0),
                "selector": selector,
                "template": template,
            },
        });
        self.copy_annotations(&mut set);
        self.annotate_size(&mut set);
        plan.writes.push(Intent::Create(set));
        if replicas > 0 {
            self.note(
                plan,
                EventType::Normal,
                "ScalingReplicaSet",
                format!("Scaled up replica set {name} from 0 to {replicas}"),
            );
        }
        Ok(())
    }

    /// Another ReplicaSet has the name: the next try hashes with a count.
    fn count_collision(&self, plan: &mut Plan, collisions: Option<i32>) -> Result<(), PlanError> {
        let mut value = self.owner.object.value()?;
        value["status"]["collisionCount"] = (collisions.unwrap_or(0) + 1).into();
        plan.writes.push(Intent::Update {
            base: self.owner.object.clone(),
            object: value,
            part: Part::Status,
        });
        Ok(())
    }

    /// The revision that the Deployment should name and does not yet.
    pub(crate) fn unwritten_revision<'r>(&self, revisions: &Revisions<'r>) -> Option<&'r str> {
        let revision = revisions.new?.annotation(REVISION)?;
        let annotations = self.deployment.metadata.annotations.as_ref();
        let written = annotations.and_then(|annotations| annotations.get(REVISION));
        (written.map(String::as_str) != Some(revision)).then_some(revision)
    }

    /// Deletes old sets beyond the history limit, oldest revision first, if nothing of them runs.
    pub(crate) fn clean_up(
        &self,
        plan: &mut Plan,
        revisions: &Revisions<'_>,
    ) -> Result<(), PlanError> {
        let limit = usize::try_from(self.spec.revision_history_limit.unwrap_or(10)).unwrap_or(0);
        let mut old: Vec<&&Set> = revisions
            .old
            .iter()
            .filter(|set| !set.object.meta.deleting)
            .collect();
        old.sort_by_key(|set| (set.revision(), set.created()));
        let surplus = old.len().saturating_sub(limit);
        for set in old.into_iter().take(surplus) {
            let observed = set
                .set
                .status
                .as_ref()
                .and_then(|status| status.observed_generation)
                >= set.set.metadata.generation;
            if set.actual() == 0 && set.desired() == 0 && observed {
                plan.writes.push(Intent::Delete {
                    base: set.object.clone(),
                    options: Options::default(),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_the_published_test_vectors() {
        // From the FNV specification's vectors for the 32-bit FNV-1a.
        assert_eq!(fnv1a(b""), 0x811c_9dc5);
        assert_eq!(fnv1a(b"a"), 0xe40c_292c);
        assert_eq!(fnv1a(b"foobar"), 0xbf9c_f968);
    }
}
