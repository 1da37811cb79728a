"""The currencies of ISO 4217 and their decimals, those that were withdrawn included.

Amounts are stored in minor units, so a currency that an account or a goal has must be known for ever, with the decimals
that it had. A table of the installed library does not promise this: its next release leaves out what ISO withdraws. So
the currencies are listed here; the library adds those that are newer than this list.
"""

from iso4217 import Currency

_LISTED = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CNY"
    " COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS"
    " INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR"
    " MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP"
    " STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
# Withdrawn since the euro came, the last ones in 2026. Accounts have histories in them.
_WITHDRAWN = {
    0: "ADP BEF BYB BYR ESP GRD ITL LUF MGF PTE TPE TRL",
    2: "AFA ANG ATS AYM AZM BGL BGN CSD CUC CYP DEM EEK FIM FRF GHC GWP HRK IEP LTL LVL MRO MTL MZM NLG ROL RUR SDD SIT"
    " SKK SLL SRG STD TJR TMM USS VEB VEF YUM ZMK ZWD ZWL ZWN ZWR",
}

DIGITS = {entry.code: entry.exponent for entry in Currency if entry.exponent is not None} | {
    code: digits for listed in (_LISTED, _WITHDRAWN) for digits, codes in listed.items() for code in codes.split()
}
"""By code, how many decimals a currency has. Codes without minor units (XAU) are left out."""
