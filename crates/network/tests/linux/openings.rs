//! Other programs' firewalls: what drops forwarded packets lets pods' through, and is as it was afterwards.

use pontoon_network::dataplane::Dataplane;

use super::isolation::{attach, call, inside, isolated, output_of, serve_tcp, start, test_name};

/// The rules of Docker, as far as they matter here.
const DOCKER: &str = "table ip filter {
  chain DOCKER-USER { counter return; }
  chain FORWARD { type filter hook forward priority filter; policy drop; counter jump DOCKER-USER; }
}";

/// A firewall of its own make.
const FIREWALL: &str = "table inet guard {
  chain forward { type filter hook forward priority filter + 10; policy drop; ct state established accept; }
}";

fn nft(script: &str) {
    output_of("nft", &[script]);
}

/// How many rules of ours a chain has.
fn openings(chain: &str) -> usize {
    let chain: Vec<&str> = ["list", "chain"]
        .into_iter()
        .chain(chain.split(' '))
        .collect();
    output_of("nft", &chain).matches("pontoon_test ").count()
}

#[test]
fn pods_reach_each_other_though_docker_drops_what_is_forwarded_and_docker_is_left_as_it_was() {
    isolated(test_name!(), |dir| async move {
        nft(DOCKER);
        let rules = || {
            let rules = output_of("nft", &["--stateless", "list", "table", "ip", "filter"]);
            rules.replace("counter packets 0 bytes 0", "counter")
        };
        let before = rules();
        let plane = start(&dir).await;
        let (a, b) = (attach(&plane, "a").await, attach(&plane, "b").await);
        let at_b = serve_tcp(&b);
        assert_eq!(inside(&a, || call(at_b)).unwrap().0, "b");
        assert_eq!(openings("ip filter DOCKER-USER"), 2);
        let gives = plane.describe().gives;
        assert!(
            gives
                .iter()
                .any(|line| line.contains("ip filter DOCKER-USER")),
            "{gives:?}"
        );
        plane.teardown().await.unwrap();
        assert_eq!(rules(), before);
    });
}

#[test]
fn a_killed_instances_rules_are_found_again_and_not_doubled() {
    isolated(test_name!(), |dir| async move {
        nft(DOCKER);
        nft(FIREWALL);
        for _ in 0..2 {
            let plane = start(&dir).await;
            assert_eq!(openings("ip filter DOCKER-USER"), 2);
            assert_eq!(openings("ip filter FORWARD"), 0);
            assert_eq!(openings("inet guard forward"), 2);
            drop(plane);
        }
        // Docker went for good meanwhile: what is not needed any more goes.
        nft("flush chain ip filter FORWARD");
        nft("add chain ip filter FORWARD { policy accept; }");
        let plane = start(&dir).await;
        assert_eq!(openings("ip filter DOCKER-USER"), 0);
        assert_eq!(openings("inet guard forward"), 2);
        plane.teardown().await.unwrap();
        assert_eq!(openings("inet guard forward"), 0);
    });
}

#[test]
fn a_firewall_that_comes_or_is_reloaded_later_is_opened_too() {
    isolated(test_name!(), |dir| async move {
        let plane = start(&dir).await;
        let (a, b) = (attach(&plane, "a").await, attach(&plane, "b").await);
        let at_b = serve_tcp(&b);
        inside(&a, || call(at_b)).unwrap();
        for _ in 0..2 {
            nft(FIREWALL);
            plane.tend().await;
            assert_eq!(openings("inet guard forward"), 2);
            inside(&a, || call(at_b)).unwrap();
            nft("delete table inet guard");
            plane.tend().await;
        }
        plane.teardown().await.unwrap();
    });
}
