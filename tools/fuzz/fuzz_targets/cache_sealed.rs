#![no_main]
// A caught panic of Arrow's reader only costs its entry; one that is not caught ends the fuzzer.
libfuzzer_sys::fuzz_target!(init: std::panic::set_hook(Box::new(|_| {})), |data: &[u8]| fuzz_targets::cache_sealed(data));
