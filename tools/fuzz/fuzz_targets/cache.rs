#![no_main]
// The fuzzer forges seals too: it copies the values that they are compared with. See `cache_sealed`.
libfuzzer_sys::fuzz_target!(init: std::panic::set_hook(Box::new(|_| {})), |data: &[u8]| fuzz_targets::cache(data));
