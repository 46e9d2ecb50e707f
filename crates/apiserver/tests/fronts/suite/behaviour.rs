//! The behaviour of the verbs: one test each, run over both fronts.

pub mod changes;
pub mod deletions;
pub mod events;
pub mod lists;
pub mod objects;
pub mod pods;
pub mod services;
pub mod watches;

/// Makes a test of each behaviour for a front.
#[macro_export]
macro_rules! behaviours {
    ($make:path: $($module:ident: $($name:ident),+;)+) => {
        $($(
            #[tokio::test]
            async fn $name() {
                suite::behaviour::$module::$name($make().await).await;
            }
        )+)+
    };
    ($make:path) => {
        $crate::behaviours!($make:
            changes:
                status_and_spec_are_written_apart,
                a_workload_is_scaled_through_its_subresource,
                patches_of_each_type_apply_or_say_why_not,
                racing_patches_all_land;
            deletions:
                finalizers_hold_a_deleted_object,
                a_deletion_obeys_its_preconditions,
                a_bound_pod_gets_its_grace_and_an_unbound_one_goes_at_once,
                a_collection_is_deleted_by_selector;
            events:
                an_event_of_one_group_is_one_of_the_other,
                a_new_event_of_the_newer_group_is_held_to_more;
            lists:
                selectors_choose_by_labels_and_fields,
                pages_show_one_revision_until_it_is_compacted,
                a_forgotten_revision_is_410_with_a_way_on;
            objects:
                an_object_lives_from_create_to_delete,
                an_update_that_changes_nothing_keeps_the_revision,
                an_update_never_creates_nor_renames,
                names_are_generated,
                nothing_is_created_in_a_namespace_that_is_missing_or_going,
                a_dry_run_answers_and_stores_nothing,
                what_is_not_served_is_404;
            pods:
                a_pod_is_given_what_kubernetes_admission_gives,
                a_pods_classes_say_its_priority_and_overhead_or_refuse_it;
            services:
                services_get_addresses_and_ports_that_nobody_has,
                racing_services_never_share_a_port;
            watches:
                a_watch_sees_every_change_in_order;
        );
    };
}
