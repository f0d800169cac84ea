/* Where it begins. */
#include "base/mem.h"
#include "main/cli.h"

#include <signal.h>

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* a peer that has gone is an error code, not an end */
    mem_init();
    return cli_run(argc, argv);
}
