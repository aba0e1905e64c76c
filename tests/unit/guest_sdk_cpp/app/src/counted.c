/* C beside C++: each is compiled as what it is. */
#include <stdlib.h>

int counted(int number) {
    int *class = malloc(sizeof *class); /* no word of C */
    *class = number + 1;
    int result = *class;
    free(class);
    return result;
}
