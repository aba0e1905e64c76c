/* Takes messages and does nothing with them. */
#include "guesthouse.h"

void gh_run(const gh_address *our) {
    for (;;)
        gh_receive();
}
