/* Whatever we take as a response, llhttp takes too, and understands it as we do (http/llhttp_compare.h). */
#include "fuzz.h"
#include "http/llhttp_compare.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const char *difference;
    llhttp_compare(input_str(bytes, n), false, &difference);
    if (difference)
        fprintf(stderr, "%s differs\n", difference);
    REQUIRE(!difference);
    return 0;
}
