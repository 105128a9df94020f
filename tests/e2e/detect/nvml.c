/* Stands in for NVIDIA's management library: two GPUs, the second one cut into
 * MIG instances. Signatures as in NVIDIA's nvml.h. */

#include <stdio.h>
#include <string.h>

typedef int result;
struct gpu { int index; };
typedef struct gpu *device;
static struct gpu gpus[2] = {{0}, {1}};

result nvmlInit_v2(void) { return 0; }
result nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(result code) { return code ? "failed" : "fine"; }

result nvmlSystemGetDriverVersion(char *version, unsigned length) {
    return snprintf(version, length, "570.86.15") < (int)length ? 0 : 7;
}
result nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = 12080; return 0; }
result nvmlSystemGetCudaDriverVersion(int *version) { *version = 12080; return 0; }

result nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return 0; }
result nvmlDeviceGetHandleByIndex_v2(unsigned index, device *gpu) {
    if (index > 1) return 2;
    *gpu = &gpus[index];
    return 0;
}
result nvmlDeviceGetCudaComputeCapability(device gpu, int *major, int *minor) {
    *major = gpu->index ? 9 : 8;
    *minor = gpu->index ? 0 : 6;
    return 0;
}
result nvmlDeviceGetName(device gpu, char *name, unsigned length) {
    snprintf(name, length, "%s", gpu->index ? "NVIDIA H100 80GB HBM3" : "NVIDIA A40");
    return 0;
}
result nvmlDeviceGetMigMode(device gpu, unsigned *current, unsigned *pending) {
    *current = *pending = gpu->index;
    return gpu->index ? 0 : 3; /* NOT_SUPPORTED */
}
