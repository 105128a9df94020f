//! Reads NVIDIA's management library (NVML), the exact source.
//!
//! A static program cannot load libraries and uses the files instead.

use super::Findings;

/// The values that NVML reports for this machine.
#[derive(Debug, Default)]
pub(super) struct Reading {
    driver: String,
    /// The newest CUDA version that the driver supports, `X.Y`.
    cuda: Option<String>,
    /// The capability and the name of each GPU.
    gpus: Vec<(String, String)>,
    warnings: Vec<String>,
}

impl Reading {
    pub(super) fn add(self, findings: &mut Findings) {
        findings.add(format!("nvdrv:{}", self.driver), "nvml", &self.driver);
        if let Some(cuda) = &self.cuda {
            findings.add(format!("cuda:{cuda}"), "nvml", cuda);
        }
        for (capability, name) in &self.gpus {
            findings.add(format!("nvcap:{capability}"), "nvml", name);
        }
        for warning in self.warnings {
            findings.warn(warning);
        }
    }
}

/// Reads NVML. Always `None`: this program is static.
#[cfg(target_feature = "crt-static")]
pub(super) fn read() -> Result<Option<Reading>, std::convert::Infallible> {
    Ok(None)
}

/// Reads NVML. Fails if the library is missing, which is normal on a machine
/// without NVIDIA GPUs.
#[cfg(not(target_feature = "crt-static"))]
pub(super) fn read() -> Result<Option<Reading>, nvml_wrapper::error::NvmlError> {
    use nvml_wrapper::{Nvml, cuda_driver_version_major, cuda_driver_version_minor};

    // The driver's own library file: only the development package adds the
    // unversioned link.
    let nvml = Nvml::builder()
        .lib_path("libnvidia-ml.so.1".as_ref())
        .init()?;
    let mut reading = Reading {
        driver: nvml.sys_driver_version()?,
        ..Reading::default()
    };
    match nvml.sys_cuda_driver_version() {
        Ok(version) => {
            let (major, minor) = (
                cuda_driver_version_major(version),
                cuda_driver_version_minor(version),
            );
            reading.cuda = Some(format!("{major}.{minor}"));
        }
        Err(error) => reading
            .warnings
            .push(format!("NVML tells no CUDA version: {error}")),
    }
    for index in 0..nvml.device_count()? {
        let asked = nvml.device_by_index(index).and_then(|gpu| {
            let capability = gpu.cuda_compute_capability()?;
            let mut name = gpu.name().unwrap_or_default();
            if gpu.mig_mode().is_ok_and(|mode| mode.current == 1) {
                name.push_str(" (MIG)");
            }
            Ok((format!("{}.{}", capability.major, capability.minor), name))
        });
        match asked {
            Ok(gpu) => reading.gpus.push(gpu),
            Err(error) => reading
                .warnings
                .push(format!("NVML tells nothing of GPU {index}: {error}")),
        }
    }
    Ok(Some(reading))
}
