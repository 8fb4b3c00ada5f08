#include "CVarveHints.h"
