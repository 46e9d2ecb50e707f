//! kubectl, unmodified, as people use it every day.

use pontoon_tests::{Cluster, Script, testdata};

#[test]
fn kubectl_prints_and_does_what_it_does_with_kubernetes() {
    let script = Script::read(&testdata("kubectl.txt"));
    assert!(
        script.count("kubectl ") >= 60,
        "only {} invocations",
        script.count("kubectl ")
    );
    let cluster = Cluster::start();
    script.run(&cluster);
}
