//! `pontoon.v1` as another language's program uses it: Python's grpcio, which knows nothing but the server's address and reflection.

use pontoon_tests::{Cluster, testdata};

#[test]
fn a_python_program_speaks_grpc_by_reflection() {
    let cluster = Cluster::start();
    let printed = cluster.python(&testdata("grpc_client.py"), &[]).ok();
    assert!(printed.ends_with("done\n"), "{printed}");
}
