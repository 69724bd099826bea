# SPDX-License-Identifier: BSD-2-Clause
# Help, manual page and completion tell of the same: every option and every verb is in all of them.
d=$work/manual
mkdir -p "$d"
"$work/lethe" help > "$d/help"
sed -n 's/^    {"\([a-z-]*\)", [a-z]*_argument,.*/--\1/p' ops/options.c > "$d/options"
holds manual/options_found sh -c "[ \$(wc -l < '$d/options') -ge 36 ]"
grep -oE -- '(^|[ ,;])--?[a-z][a-z-]*' "$d/help" | tr -d ' ,;' | sort -u > "$d/told"
while read -r option; do
    case $option in --interactive | --tty) option=-it ;; esac
    holds "manual/help$option" grep -qx -e "$option" "$d/told"
done < "$d/options"
while read -r option; do
    holds "manual/page$option" grep -Eq -- "^\.It (.*)?Fl ${option#-}( |\$)" docs/lethe.1
    case $option in # a long option is enough where there is one
    --* | -it) holds "manual/completion$option" grep -Eq -- "[' ]$option[' ]|[' ]$option\$" ops/completion/lethe.bash ;;
    esac
done < "$d/told"
for verb in run build deploy 'image create' 'image list' 'instance create' 'instance list' 'volume create' 'volume list' 'config check' 'config keys' version; do
    holds "manual/verb $verb" sh -c "grep -Eq '^\.Cm (.* )?(${verb% *}( ${verb#* })?|${verb#* })( |\$)' docs/lethe.1"
done
holds manual/lint sh -c "mandoc -T lint -W warning docs/lethe.1"

# bash completes as the tool has it.
cat > "$d/complete" <<'END'
. ops/completion/lethe.bash
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_lethe
echo "${COMPREPLY[*]}"
END
completes() { # completes NAME RESULT WORD...
    name=$1 result=$2
    shift 2
    expect_output "manual/complete_$name" 0 "$result" bash "$d/complete" lethe "$@"
}
completes verb instance inst
completes second convert image co
completes option --memory run ./app --mem
completes format 'qcow2' build ./app -t qc
completes bus 'nvme' run --disk x --disk-bus n
completes cloud gcp deploy g
completes file README.md run README
for provider in $(sed -n 's/.*{.name = "\([a-z]*\)",$/\1/p' ops/deploy.c); do completes $provider "$provider" deploy "$provider"; done
for format in $(sed -n 's/^    {"\([a-z-]*\)", "[a-z.-]*", .*/\1/p; s/.*{"\([a-z0-9]*\)", "\.[a-z0-9.]*",.*/\1/p' ops/machines.c ops/formats.c | sort -u); do
    holds "manual/complete_format_$format" sh -c "bash '$d/complete' lethe build x -t $format | grep -qw -e $format"
done
if command -v zsh >/dev/null; then
    holds manual/zsh zsh -n ops/completion/_lethe
fi
