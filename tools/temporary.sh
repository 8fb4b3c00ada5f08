# Sourced by the other tools: whatever is temporary goes into one folder, which goes with the tool that made it. (SwiftPM
# leaves folders in TMPDIR, and a test that dies what it had.) Its path is short, so that sockets fit into it.
# A tool that sets a trap of its own calls "tidy" in it.
tidy() { :; }
if [ -z "${VARVE_TEMPORARY:-}" ]; then
  VARVE_TEMPORARY=$(mktemp -d /tmp/varve.XXXXXX)
  export VARVE_TEMPORARY TMPDIR=$VARVE_TEMPORARY XDG_RUNTIME_DIR=$VARVE_TEMPORARY
  tidy() { rm -rf --one-file-system "$VARVE_TEMPORARY"; }
  trap tidy EXIT
fi
