#include "CVarveIO.h"
