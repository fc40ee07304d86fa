# sh -euc … sh make|look DAYS RENEW_DAYS NETWORK DOMAIN NAME…
# Makes an authority once, and a certificate for the names (the first is its common name) when there is none, it ends
# within RENEW_DAYS, or its names are others. Says what it made; `look` says what it would make.
umask 077
verb=$1 days=$2 renew=$3 network=$4 domain=$5
shift 5
cd /etc/nhip/tls
address=${network%/*}
mask=$(python3 -c 'import ipaddress, sys; print(ipaddress.ip_network(sys.argv[1]).netmask)' "$network")

if [ ! -s ca.key ] || [ ! -s ca.pem ]; then
    echo "authority"
    if [ "$verb" = make ]; then
        # Whoever steals it can sign names of this province alone, also for browsers that were told to believe it.
        openssl req -x509 -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 7300 -keyout ca.key.part \
            -out ca.pem.part -subj "/CN=Nhip $domain" -addext basicConstraints=critical,CA:TRUE,pathlen:0 \
            -addext keyUsage=critical,keyCertSign,cRLSign \
            -addext "nameConstraints=critical,permitted;IP:$address/$mask,permitted;IP:127.0.0.0/255.0.0.0,permitted;DNS:$domain,permitted;DNS:$(hostname)" \
            2>/dev/null
        chmod 0644 ca.pem.part
        mv ca.key.part ca.key
        mv ca.pem.part ca.pem
        rm -f server.pem
    fi
fi

names=$(for name; do case $name in *[!0-9.]*) echo "DNS:$name" ;; *) echo "IP:$name" ;; esac; done | paste -sd,)
if [ -s server.pem ] && [ -s server.key ] && [ "$(cat names 2>/dev/null)" = "$names" ] &&
    openssl x509 -in server.pem -noout -checkend $((renew * 86400)) >/dev/null &&
    openssl verify -CAfile ca.pem server.pem >/dev/null 2>&1; then
    exit 0
fi
echo "certificate"
[ "$verb" = make ] || exit 0
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key.part -out request.part \
    -subj "/CN=$1" 2>/dev/null
printf '%s\n' "subjectAltName=$names" "extendedKeyUsage=serverAuth" "keyUsage=critical,digitalSignature" \
    "basicConstraints=critical,CA:FALSE" "authorityKeyIdentifier=keyid" >extensions.part
openssl x509 -req -in request.part -CA ca.pem -CAkey ca.key -set_serial "0x$(openssl rand -hex 16)" -days "$days" \
    -sha256 -extfile extensions.part -out server.pem.part 2>/dev/null
chgrp nhip server.key.part
chmod 0640 server.key.part
chmod 0644 server.pem.part
mv server.key.part server.key
mv server.pem.part server.pem
rm -f request.part extensions.part
echo "$names" >names
