/* The table of orchestrators. */
#include "service/orchestrator.h"

static const struct orchestrator docker = {.name = "docker"};
static const struct orchestrator kubernetes = {.name = "kubernetes"};
static const struct orchestrator systemd = {.name = "systemd"};
static const struct orchestrator semaphore = {.name = "semaphore"};
static const struct orchestrator wake_on_lan = {.name = "wake_on_lan"};

const struct orchestrator *orchestrator_find(enum orchestrator_kind kind)
{
    switch (kind) {
    case ORCHESTRATOR_NONE:
        return &orchestrator_none;
    case ORCHESTRATOR_PROCESS:
        return &orchestrator_process;
    case ORCHESTRATOR_DOCKER:
        return &docker;
    case ORCHESTRATOR_KUBERNETES:
        return &kubernetes;
    case ORCHESTRATOR_SYSTEMD:
        return &systemd;
    case ORCHESTRATOR_SEMAPHORE:
        return &semaphore;
    case ORCHESTRATOR_WAKE_ON_LAN:
        return &wake_on_lan;
    }
    REQUIRE(!"unknown orchestrator kind");
    return NULL;
}
