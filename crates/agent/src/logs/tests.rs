#![allow(clippy::unwrap_used)]
use super::*;
use pontoon_runtime::log::{LogStream, LogWriter, Rotation};

const SMALL: Rotation = Rotation {
    file_bytes: 120,
    files: 3,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn write(path: &Path, rotation: Rotation, lines: std::ops::Range<i64>) {
    let mut log = LogWriter::open(path, rotation).unwrap();
    for number in lines {
        let text = format!("line {number}");
        let entries = [(text.as_bytes(), false)];
        log.append(at(number), LogStream::Stdout, entries.into_iter())
            .unwrap();
    }
}

fn options() -> Options {
    Options {
        follow: false,
        previous: false,
        tail_lines: None,
        limit_bytes: None,
        since: None,
        timestamps: false,
    }
}

async fn all(path: &Path, options: Options) -> String {
    let mut reader = Reader::begin(path.to_owned(), options, None).await.unwrap();
    let mut text = String::new();
    while let Some(chunk) = reader.next().await.unwrap() {
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    text
}

#[tokio::test]
async fn lines_are_read_across_rotated_files_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("0.log");
    write(&path, SMALL, 0..7);
    assert_eq!(
        all(&path, options()).await,
        "line 0\nline 1\nline 2\nline 3\nline 4\nline 5\nline 6\n"
    );
    let tail = |lines| Options {
        tail_lines: Some(lines),
        ..options()
    };
    assert_eq!(all(&path, tail(2)).await, "line 5\nline 6\n");
    assert_eq!(
        all(&path, tail(5)).await,
        "line 2\nline 3\nline 4\nline 5\nline 6\n"
    );
    assert_eq!(all(&path, tail(0)).await, "");
    assert_eq!(all(&path, tail(99)).await.lines().count(), 7);
}

#[tokio::test]
async fn times_and_bytes_bound_what_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("0.log");
    write(&path, Rotation::KUBELET, 0..4);
    let since = Options {
        since: Some(at(2)),
        timestamps: true,
        ..options()
    };
    assert_eq!(
        all(&path, since).await,
        "2027-01-15T08:00:02.000000000Z line 2\n2027-01-15T08:00:03.000000000Z line 3\n"
    );
    let bytes = Options {
        limit_bytes: Some(9),
        ..options()
    };
    assert_eq!(all(&path, bytes).await, "line 0\nli");
}

#[tokio::test]
async fn pieces_of_a_line_are_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("0.log");
    let mut log = LogWriter::open(&path, Rotation::KUBELET).unwrap();
    let pieces: [(&[u8], bool); 5] = [
        (b"a", false),
        (b"b", true),
        (b"c", true),
        (b"d", false),
        (b"e", false),
    ];
    log.append(at(0), LogStream::Stdout, pieces.into_iter())
        .unwrap();
    assert_eq!(all(&path, options()).await, "a\nbcd\ne\n");
    let tail = Options {
        tail_lines: Some(2),
        timestamps: true,
        ..options()
    };
    let stamp = "2027-01-15T08:00:00.000000000Z";
    assert_eq!(all(&path, tail).await, format!("{stamp} bcd\n{stamp} e\n"));
}

#[tokio::test]
async fn following_ends_with_the_container_and_survives_rotation() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("0.log");
    write(&path, SMALL, 0..2);
    let attempt = Attempt {
        number: 0,
        id: pontoon_runtime::ContainerId::new("c"),
        running: true,
    };
    let (sender, attempts) = watch::channel(BTreeMap::from([("web".to_owned(), attempt.clone())]));
    let follow = Follow {
        changes: Changes::of(&path).unwrap(),
        attempts,
        container: "web".to_owned(),
        number: 0,
    };
    let mut reader = Reader::begin(path.clone(), options(), Some(follow))
        .await
        .unwrap();
    let mut text = String::new();
    for round in 0..4 {
        let chunk = reader.next().await.unwrap().unwrap();
        text.push_str(std::str::from_utf8(&chunk).unwrap());
        write(&path, SMALL, (2 + round * 2)..(4 + round * 2));
    }
    let ended = Attempt {
        running: false,
        ..attempt
    };
    sender.send_replace(BTreeMap::from([("web".to_owned(), ended)]));
    while let Some(chunk) = reader.next().await.unwrap() {
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    let lines: Vec<String> = (0..10).map(|n| format!("line {n}")).collect();
    assert_eq!(text.lines().collect::<Vec<_>>(), lines);
}
