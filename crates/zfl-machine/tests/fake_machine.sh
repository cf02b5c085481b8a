#!/bin/sh
# Stands in for an emulator. The last argument is the firmware image; its name
# says how this machine behaves. The console is the socket at descriptor 1.
for argument; do image=$argument; done
behaviour=${image##*/}
exec 3<&1

say() { printf '%s\r\n' "$@"; }
prompt() { printf 'zfl> '; }
boot() {
    say '@zfl boot board=fake version=0.1.0 arena=1024'
    prompt
}
# Ends with the signal that ends this machine.
stay() { exec sleep 300; }

# Echoes and answers commands.
answer() {
    while read -r line <&3; do
        case $line in
        # As when an event comes while the line is typed.
        interrupted) printf 'inter\r\n@zfl training round=2\r\nrupted\r\n' ;;
        *) say "$line" ;;
        esac
        case $line in
        interrupted) say 'noticed' ;;
        dance) say 'error: column 1: expected help, run, stats or crash' ;;
        help) say 'help   this text' 'run    learn' ;;
        stats) say '@zfl stats uptime_us=12' 'counted' ;;
        run*) say '@zfl assigned client=3' "$@" ;;
        surroundings)
            grep THP_enabled /proc/$$/status
            say "core $(ulimit -c)"
            say "group $(cut -d' ' -f5 /proc/$$/stat) process $$"
            say "sockets $(cd /proc/$$/fd; ls -l | sed -n 's/.* \([0-9]*\) -> socket:.*/\1/p' | tr '\n' ' ')"
            ;;
        'crash panic')
            say '@zfl panic at src/x.rs:3: no' 'r0 00000000 r1 00000001' 'backtrace 0x100 0x204'
            exit 0
            ;;
        'crash stay')
            say '@zfl fault bus fault at 0x4' 'r0 00000002'
            stay
            ;;
        spin)
            while :; do say '@zfl training round=1'; done
            ;;
        esac
        prompt
    done
    exit 0
}

case $behaviour in
answers) boot; answer '@zfl ready client=3 samples=120' ;;
never-ready) boot; answer ;;
refuses) boot; answer 'error: there is no network' ;;
silent) stay ;;
no-prompt) say 'starting'; stay ;;
mute) boot; stay ;;
stubborn) trap '' TERM; boot; stay ;;
exits) echo 'fake: cannot load the image' >&2; exit 3 ;;
resets) boot; exit 0 ;;
locks-up)
    boot
    echo 'qemu: fatal: Lockup: cannot escalate 3 to HardFault' >&2
    echo 'R00=00000000 R01=00000001' >&2
    kill -ABRT $$
    ;;
chatters)
    while :; do echo 'fake: unimplemented register' >&2; done
    ;;
garbage)
    head -c 300000 /dev/urandom
    printf '\377\376@zfl \033[2J\000@zfl ready client=\r\n@zfl panicked\r\n\r\n'
    boot
    answer '@zfl ready client=3 samples=120'
    ;;
*) echo "fake: no behaviour $behaviour" >&2; exit 9 ;;
esac
