//! `cargo xtask screenshots`: the pictures of docs/DASHBOARD.md, of each page, on a phone and at a desk, of a night that a node has had.

#![expect(clippy::print_stdout, reason = "what was taken is its data")]

use std::collections::HashMap;
use std::fs;
use std::io::Cursor;

use color_quant::NeuQuant;
use sortie_tests::chromium::WIDTHS;
use sortie_tests::showcase::{ASKS_TO_EDIT, CODED, FAILED, OPERATOR, Showcase};
use sortie_tests::{Chromium, Look, project};

/// How far down a picture goes: what is below that is more of the same.
const HEIGHT_MAX: u32 = 1_300;
/// Bytes of one, and of all of them: they are in the repository.
const ONE_BYTES_MAX: usize = 150_000;
const BYTES_MAX: usize = 1_500_000;

#[tokio::main]
async fn main() {
    let night = Showcase::play().await;
    let (node, browser) = (&night.node, Chromium::start().await);
    let folder = project().join("docs/images");
    fs::create_dir_all(&folder).expect("a writable folder");
    let mut bytes = 0;
    let mut take = async |name: &str, path: &str, look: Look| {
        browser.look(look).await;
        browser.go(&format!("{}{path}", node.url())).await;
        let picture = smaller(&browser.picture(HEIGHT_MAX).await);
        assert!(picture.len() <= ONE_BYTES_MAX, "{name}: {} bytes", picture.len());
        bytes += picture.len();
        let file = folder.join(format!("{name}-{}{}.png", look.width, if look.is_dark { "-dark" } else { "" }));
        println!("{} ({} bytes)", file.display(), picture.len());
        fs::write(file, picture).expect("a writable file");
    };
    for width in WIDTHS {
        take("signin", "/signin", Look { width, is_dark: false }).await;
    }
    browser.sign_in(node, OPERATOR).await;
    for (name, path) in pages() {
        for width in WIDTHS {
            take(name, &path, Look { width, is_dark: false }).await;
        }
        if name == "night" {
            for width in WIDTHS {
                take(name, &path, Look { width, is_dark: true }).await;
            }
        }
    }
    assert!(bytes <= BYTES_MAX, "{bytes} bytes in all");
}

/// Each page, and what it is called.
fn pages() -> Vec<(&'static str, String)> {
    let of = |id: &str| format!("/missions/{id}");
    vec![
        ("night", "/".to_owned()),
        ("inbox", "/inbox".to_owned()),
        ("missions", "/missions".to_owned()),
        ("mission", of(CODED)),
        ("mission-asks", of(ASKS_TO_EDIT)),
        ("mission-then", format!("{}?at=12", of(CODED))),
        ("why", format!("{}/why", of(FAILED))),
        ("fork", format!("{}/fork?record=3", of(FAILED))),
        ("replay", format!("{}/replay?version=0.1.0", of(FAILED))),
        ("patch", format!("{}/files/changes.patch", of(CODED))),
        ("schedules", "/schedules".to_owned()),
        ("schedule", "/schedules/morning-digest".to_owned()),
        ("dispatch", "/dispatch?plugin=automation".to_owned()),
        ("actions", "/actions".to_owned()),
        ("sessions", "/sessions".to_owned()),
        ("deliveries", "/deliveries".to_owned()),
        ("plugins", "/plugins".to_owned()),
        ("tools", "/tools".to_owned()),
        ("models", "/models".to_owned()),
        ("node", "/node".to_owned()),
    ]
}

/// The same picture in the 256 colours that are nearest: pages have few, and edges of letters the rest.
fn smaller(picture: &[u8]) -> Vec<u8> {
    let mut decoder = png::Decoder::new(Cursor::new(picture));
    decoder.set_transformations(png::Transformations::ALPHA);
    let mut reader = decoder.read_info().expect("a picture");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
    let info = reader.next_frame(&mut pixels).expect("a picture");
    assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Rgba, png::BitDepth::Eight));
    let colours = NeuQuant::new(3, 256, &pixels);
    let mut known = HashMap::new();
    let mut nearest = |pixel: &[u8]| *known.entry(pixel.to_vec()).or_insert_with(|| colours.index_of(pixel));
    let indices: Vec<usize> = pixels.chunks_exact(4).map(&mut nearest).collect();
    let indices: Vec<u8> = indices.into_iter().map(|index| u8::try_from(index).expect("256 colours")).collect();
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, info.width, info.height);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(colours.color_map_rgb());
    encoder.set_compression(png::Compression::High);
    encoder.set_filter(png::Filter::NoFilter);
    encoder.write_header().and_then(|mut writer| writer.write_image_data(&indices)).expect("a picture");
    file
}
